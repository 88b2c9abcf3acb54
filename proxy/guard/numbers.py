"""Numbers that somebody hands out and checks: `credit_card`, `iban`, `us_ssn`.

The door to python-stdnum, which judges. What it does not have is here: the prefixes under which
cards are issued, and how each number is written.
"""

import re
from collections.abc import Iterator
from functools import cache

from stdnum import iban, luhn, numdb
from stdnum.us import ssn

from proxy.guard.hit import WORD, Hit, begins

_BEGINS = begins()
_ENDS = rf"(?![{WORD}]|[-.][0-9])"

# In one piece, or 4-4-4-4 (the last group may differ), or 4-6-5 and 4-6-4, as on the cards.
_CARD = re.compile(
    rf"[0-9]{_BEGINS}(?<![0-9]\..)(?:[0-9]{{12,18}}+"
    r"|[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}+"
    rf"|[0-9]{{3}}([ -])[0-9]{{6}}\2[0-9]{{4,5}}+){_ENDS}"
)
# ISO/IEC 7812 issuers, with the lengths they use.
_ISSUED = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5]|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12,14}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:6011|64[4-9]|65|62|81)[0-9]{12,17}"  # Discover, UnionPay
    r"|3(?:0[0-59]|[689])[0-9]{11,17}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{9,15}"  # Maestro
)

# Found by its two check digits, because there are fewer digits than letters in a text.
_CHECKED = re.compile(rf"[0-9](?<=[A-Za-z]{{2}}.){begins(read=3)}[0-9]")

_SSN = re.compile(rf"[0-9]{_BEGINS}(?<![0-9]-.)[0-9]{{2}}([ -])[0-9]{{2}}\1[0-9]{{4}}{_ENDS}")


def cards(text: str) -> Iterator[Hit]:
    """Find payment cards: an issuer's prefix and length, and the check digit."""
    for found in _CARD.finditer(text):
        digits = found[0].replace(" ", "").replace("-", "")
        if _ISSUED.fullmatch(digits) and luhn.is_valid(digits):
            yield Hit(*found.span(), digits)


def accounts(text: str) -> Iterator[Hit]:
    """Find IBANs, in one piece or in groups: a country's length and form, and check digits."""
    past = 0
    for found in _CHECKED.finditer(text):
        start = found.start() - 2
        form = _form(text[start : start + 2].upper())
        account = form.match(text, start) if form else None
        if account and start >= past and iban.is_valid(account[0], check_country=False):
            past = account.end()
            yield Hit(start, past, iban.compact(account[0]))


@cache
def _form(country: str) -> re.Pattern[str] | None:
    """As many letters and digits as an IBAN of *country* has; None where there are none."""
    form = numdb.get("iban").info(country)[0][1].get("bban", "")
    length = sum(int(part) for part in re.findall(r"([0-9]+)!", form))
    blanks = rf"(?:[ -]?[A-Za-z0-9]){{{length + 3}}}"
    return re.compile(rf"[A-Za-z]{blanks}(?![A-Za-z0-9])") if length else None


def social_security(text: str) -> Iterator[Hit]:
    """Find US social security numbers written in their three groups.

    Nine digits in one piece are anything, and there is no check digit that could tell.
    """
    for found in _SSN.finditer(text):
        digits = found[0].replace(" ", "").replace("-", "")
        if ssn.is_valid(digits):
            yield Hit(*found.span(), digits)
