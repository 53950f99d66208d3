"""Money is a whole number of nano-dollars. Decimal text comes in and goes out; a float never does.

Prices are published in US dollars, and so is everything here: 1 USD is 1,000,000,000 nanos. The
largest amount fits SQLite's 64-bit integers with room for sums.
"""

import re

NANOS_PER_DOLLAR = 10**9
MAX_DOLLARS = 10**9
_AMOUNT = re.compile(
    r"(?P<sign>\$ ?)?(?P<whole>[0-9]{1,12})(\.(?P<rest>[0-9]{1,9}))?( ?[Uu][Ss][Dd])?"
)


class Money(int):
    """Nano-dollars that print as dollars: `str(Money(1_500_000_000)) == "1.50 USD"`.

    Arithmetic gives a plain int; wrap the result where it is to be shown.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Money":
        """From "100", "100 USD", "0.42usd" or "$5".

        Raises:
            ValueError: saying what an amount looks like.
        """
        found = _AMOUNT.fullmatch(text.strip())
        if found is None:
            raise ValueError(
                'must be US dollars as decimal text such as "100 USD" or "0.42", '
                "with at most 9 digits after the point"
            )
        rest = (found["rest"] or "").ljust(9, "0")
        nanos = int(found["whole"]) * NANOS_PER_DOLLAR + int(rest)
        if nanos > MAX_DOLLARS * NANOS_PER_DOLLAR:
            msg = f"must be at most {MAX_DOLLARS} USD"
            raise ValueError(msg)
        return cls(nanos)

    def __str__(self) -> str:
        return f"{dollars(self)} USD"

    def __repr__(self) -> str:
        return f"Money({int(self)})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


NO_MONEY = Money(0)


def dollars(nanos: int) -> str:
    """Exact decimal text, with at least two digits after the point: "12.50", "-0.000000042"."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_DOLLAR)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"
