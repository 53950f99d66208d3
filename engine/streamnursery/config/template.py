"""What `config init` writes: every key, switched off, with its default."""

TEMPLATE = """\
# streamnursery.toml. Lines that begin with a bare # are settings at their defaults or examples;
# take the # away to change one. Durations are seconds. Reference: docs/configuration.md

#[engine]
#max_streams = 1000              # over all models
#max_queued = 50000              # requests that may wait; the next one is refused
#max_queued_per_tenant = 1000    # the same for each tenant; without it no bound of its own
#trust_env = false               # obey HTTP_PROXY, NO_PROXY, SSL_CERT_FILE and their kin
#buffer_events = 1024            # unread events per stream before the provider is held back
#buffer_bytes = 262144           # unread bytes per stream
#max_buffered_bytes = 268435456  # unread bytes over all streams
#max_relayed_bytes = 33554432    # of a relayed request, and of an answer that does not stream
#max_idle_connections = 100      # kept open per server
#max_added_latency = "off"       # 0.005 lets a busy engine read less often, and so cheaper
#max_drain_seconds = 30          # of an answer without a reader, where on_abort is "drain"
#max_drain_bytes = 1048576
#top_socket = ""                 # a path: `streamnursery top` shows this engine there

#[http2]                         # for every HTTP/2 connection
#stream_window = 131072          # bytes of one stream on the way or unread, 64 to 256 KiB
#max_streams = 128               # on one connection; the server may allow fewer
#max_connections = 16            # per server; beyond them requests wait
#ping_after = 30                 # silence after which a server is asked for a sign of life
#ping_timeout = 5                # what it has to give one
#idle = 60                       # how long a connection without streams is kept

#[defaults]                      # for every model that does not say otherwise
#max_streams = 1000              # engine.max_streams; without a smaller one, less after a 429
#patience.connect = 30
#patience.first_byte = 60
#patience.first_token = 60
#patience.first_token_reasoning = 300  # silence, where the model may think unseen
#patience.first_token_working = 600    # in all, while signs of work come
#patience.idle = 60
#patience.total = "auto"               # by max_tokens and the answer's own pace
#patience.min_tokens_per_second = "off"
#patience.pace_window = 30
#retries = { attempts = 5, base = 1, cap = 30, retry_after_cap = 120 }
#on_abort = "cancel"             # "drain": read on in the background, for the true usage
#model = ""                      # of a request that names none
#temperature = 0.7               # these five: of requests that do not state them
#max_tokens = 1000
#top_p = 1
#reasoning_effort = "low"
#extra = { top_k = 40 }          # further fields of the body
#on_interrupt = "fail"           # or "restart", "continue", "resume", or several in order

# OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, DEEPSEEK_API_KEY and OPENROUTER_API_KEY
# make the endpoints openai, anthropic, gemini, deepseek and openrouter without any line here.

#[endpoints.main]
#url = "https://api.example.com/v1"
#key = { env = "MAIN_API_KEY" }  # or { file = "path" }; never the key itself
#dialect = "openai-chat"
#auth = "bearer"                 # or "api-key", "x-api-key", "x-goog-api-key", "none"
#headers = { X-Team = "research" }
#query = { api-version = "2025-01-01" }
#ca_file = ""                    # PEM file of a private certificate authority
#client_cert = ""                # PEM file of a certificate to show, for mutual TLS
#client_key = ""                 # of its key, where client_cert does not hold that too
#proxy = ""                      # http://host:port; with a password: { env = "NAME" }
#http = "auto"                   # or "1.1", "2", and "h2c": HTTP/2 without TLS
#max_tokens_field = "max_tokens" # "max_completion_tokens" for OpenAI's reasoning models
#include_usage = true            # false for servers that refuse `stream_options`
#seed_field = "seed"             # "random_seed" for Mistral
#reasoning_field = ""            # where the server wants its reasoning back, "reasoning_content"
#short_tool_call_ids = false     # true for Mistral: nine letters and digits
#refused_fields = ""             # request fields that the server refuses, parted by blanks
#heartbeat = { interval = "off", timeout = 5, path = "/models" }  # ask while nobody uses it
#insecure = false                # true: no certificate check
#deny_private = false            # true: refuse names that resolve to private addresses
#rpm = 3000                      # requests per minute over all models; also tpm, input_tpm,
#tpm = 500000                    # output_tpm; tokens are estimated, and corrected afterwards
#input_tpm = 400000
#output_tpm = 100000
#burst = 0.1                     # the part of a minute's limit that may be used at once
#learn_rates = true              # obey x-ratelimit-* and anthropic-ratelimit-* of the answers
#max_event_bytes = 16777216      # of one event of an answer; an image may stand in one
#propagate = false               # send it the traceparent of each attempt
#max_streams = 20                # at this endpoint, over all models; without it no limit of its own
#assistant_prefix = "off"        # "message", "flag", "continue" or "user-turn": can go on with

#[endpoints.claude]
#url = "https://api.anthropic.com/v1"
#key = { env = "ANTHROPIC_API_KEY" }
#dialect = "anthropic-messages"
#default_max_tokens = "4096"     # of an answer whose request states none
#thinking = "budget"             # of reasoning_effort; "adaptive" for models after 4.5

#[endpoints.pool]
#url = "https://api.example.com/v1"
#keys = [{ env = "POOL_KEY_1" }, { env = "POOL_KEY_2" }]  # instead of a key; least used first

#[endpoints.vertex]
#url = "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/publishers/google"
#dialect = "gemini"
#token_command = ["gcloud", "auth", "print-access-token"]  # instead of a key; no shell reads it

#[models."gpt-4.1"]
#routes = [{ endpoint = "main" }, { endpoint = "main", model = "gpt-4.1-2025-04-14" }]
#max_streams = 5                 # or "adaptive": as many as do not slow its routes down
#adaptive = { min_streams = 1, max_streams = 1000, start = 10 }
#rpm = 500
#tpm = 30000
#input_tpm = 25000
#output_tpm = 5000
#burst = 0.1
#patience = { first_token = 120 }
#retries = { attempts = 3 }
#fallback = ["gpt-4.1-mini"]
#on_interrupt = ["resume", "continue"]
#on_abort = "drain"
#downgrade_after = 5             # seconds in the queue before the next fallback model is asked
#downgrade_to_higher_price = false
#hedge_after = "p95"             # or seconds: a second attempt beside one without a first token
#assistant_prefix = "message"
#price = { input = "2", output = "8", cached_input = "0.50", as_of = 2025-04-14 }  # per million
#reasoning = true                # waits for patience.first_token_reasoning
#quality = 8                     # 0 to 10, for model = "auto"
#context = 1000000               # tokens of input and output together
#tools = true
#ttft = 0.9                      # seconds to the first token, until enough were measured
#balance = "primary"             # "p2c": the less loaded of two of its routes goes first
#temperature = 0
#max_tokens = 500
#top_p = 0.9
#reasoning_effort = "high"
#extra = { service_tier = "flex" }

#[models."gpt-4.1-mini"]
#routes = [{ endpoint = "main" }]

#[tenants.acme]                  # on whose behalf: tenant= of a request
#weight = 1                      # its share of what is scarce, against those of others
#max_queued = 100
#max_streams = 8                 # over all models
#rpm = 600
#tpm = 200000
#input_tpm = 150000
#output_tpm = 50000
#burst = 0.1
#[tenants.acme.budget]
#daily = "5"
#monthly = "100"
#mode = "hard"

#[groups.expensive]              # limits that several models share
#models = ["gpt-4.1*", "claude-*"]  # names, or patterns; a model may be in several groups
#max_streams = 8                 # of all of them together
#rpm = 600
#tpm = 200000
#input_tpm = 150000
#output_tpm = 50000
#burst = 0.1
#weight = 1                      # its share of what is scarce, against those of other models
#[groups.expensive.budget]
#daily = "50"
#monthly = "1000"
#mode = "soft"

#[budgets]                       # in US dollars; without any limit nothing is refused
#daily = "100"
#monthly = "2000"
#mode = "hard"                   # "soft": a cheaper model, then wait, then refuse
#soft_at = 80                    # percent of a soft budget from which on the cheaper model is taken
#soft_wait = 60                  # seconds to wait for room in a soft budget
#timezone = "UTC"                # whose days and months
#alerts = [50, 80, 100]          # percent, told once in each window
#unknown_price = "refuse"        # "zero": models without a price cost nothing
#ledger = ""                     # a file that several processes can share; "" keeps it in memory
#durable = false                 # true: an answer ends once its cost is on the disk
#keep_days = 90                  # then the rows of attempts go, and their sums stay
#uncertain_days = 30             # then an attempt whose end was not seen counts as spent

#[budgets.models."gpt-4.1"]
#daily = "20"
#monthly = "400"
#mode = "soft"

#[budgets.tenants.globex]        # the same as [tenants.globex.budget]
#daily = "5"
#monthly = "100"
#mode = "hard"

#[budgets.endpoints.main]
#daily = "50"
#monthly = "1000"
#mode = "hard"

#[routing]                       # how the model of a TaskProfile is chosen: the first rule
#                                # that applies, else the balanced model
#rules = [{ latency_below = 0.3, choose = "fastest" }, \
{ complexity_below = 7, budget = "low", choose = "cheapest" }, \
{ complexity_from = 8, choose = "strongest" }]

#[sessions]                      # WebSockets that are kept open
#heartbeat = { interval = 30, timeout = 5 }
#reconnect.attempts = 5          # in a row without a connection
#reconnect.base = 1
#reconnect.factor = 2
#reconnect.jitter = 0.3
#reconnect.cap = 30
#reconnect.retry_after_cap = 120
#reconnect.max_restarts = 10     # connections that may break within `period` before we give up
#reconnect.period = 60
#pending = { max_messages = 1000, max_bytes = 4194304, when_full = "wait" }
#connect_timeout = 30
#close_timeout = 2
#max_message_bytes = 16777216    # received
#buffer_events = 1024            # that may wait to be read
#buffer_bytes = 4194304
#max_buffered_bytes = 33554432   # unread bytes of all answers of a session
#max_in_flight = 16              # answers at once
#max_lanes = 32
#max_age = 3600                  # renewed before
"""
