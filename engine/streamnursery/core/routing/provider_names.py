"""Models that no table of the configuration names: from their names to an endpoint.

Rule 1: `anthropic/claude-sonnet-4-5` goes to the endpoint of that name, whatever it is.
Rule 2: a name that begins as those of one provider do goes to that provider, unless the default
        endpoint is a server that may serve any name, such as a gateway.
Rule 3: a spelling that price lists use and the provider's API refuses is sent in the API's own. At
        another server a name is sent as it was written.
"""

from streamnursery.values.settings import EngineConfig, ProviderNames, Route


def provider_route(model: str, config: EngineConfig) -> Route | None:
    """Where the name itself says that `model` is served; None: it does not say."""
    endpoint, _, name = model.partition("/")
    if name and endpoint in config.endpoints:
        return Route(endpoint, spelled(name, config.provider_names.get(endpoint)))
    default = config.default_endpoint
    if default is not None and default not in config.provider_names:
        return None
    for endpoint, names in config.provider_names.items():
        if names.families and model.startswith(names.families):
            return Route(endpoint, spelled(model, names))
    return None


def spelled(model: str, names: ProviderNames | None) -> str:
    """The API's own name of a model."""
    return model if names is None else names.spellings.get(model, model)
