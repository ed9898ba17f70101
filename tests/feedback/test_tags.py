from django.template import Context, Template

from feedback.reasons import CODES, LABELS


def test_the_rating_dialog_offers_every_reason_by_value() -> None:
    text = Template("{% load feedback %}{% rating_dialog %}").render(Context())
    for code in CODES:
        assert text.count(f'value="{code}"') == 1
    for labels in LABELS.values():
        assert all(f">{label}</label>" in text for label in labels.values())


def test_no_reason_code_is_used_for_both_values() -> None:
    assert len(set(CODES)) == len(CODES)
