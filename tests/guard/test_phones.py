import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from proxy.guard.phones import phones


def written(region, form):
    examples = (
        phonenumbers.example_number_for_type(region, kind)
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
    )
    return [phonenumbers.format_number(each, form) for each in examples if each]


def found(text, *regions):
    return [text[hit.start : hit.end] for hit in phones(regions)(text)]


@pytest.mark.parametrize("form", [PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164])
def test_every_countrys_numbers_are_found_by_its_code(form):
    numbers = [each for code in phonenumbers.SUPPORTED_REGIONS for each in written(code, form)]

    assert [each for each in numbers if found(f"call {each} after six") != [each]] == []


@pytest.mark.parametrize("region", ["US", "DE", "GB", "FR", "IT", "ES", "IN", "JP", "BR", "AU"])
def test_a_regions_numbers_are_found_as_they_are_written_there(region):
    for each in written(region, PhoneNumberFormat.NATIONAL):
        assert found(f"call {each}, please", region) == [each]
        assert found(f"call {each}, please") == []
