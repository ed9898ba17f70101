"""The three plans every installation starts with. An admin changes them; this never overwrites."""

from django.db import migrations

PLANS = [
    {
        "code": "free",
        "name": "Free",
        "position": 0,
        "requests_per_minute": 20,
        "tokens_per_day": 100_000,
        "concurrent_answers": 2,
        "weight": 1,
        "max_context_tokens": 8_192,
        "max_output_tokens": 1_024,
    },
    {
        "code": "team",
        "name": "Team",
        "position": 1,
        "requests_per_minute": 120,
        "tokens_per_day": 5_000_000,
        "concurrent_answers": 16,
        "weight": 4,
        "max_context_tokens": 32_768,
        "max_output_tokens": 4_096,
    },
    {
        "code": "enterprise",
        "name": "Enterprise",
        "position": 2,
        "requests_per_minute": None,
        "tokens_per_day": None,
        "concurrent_answers": 128,
        "weight": 16,
        "max_context_tokens": 131_072,
        "max_output_tokens": 8_192,
    },
]


def create_plans(apps, schema_editor):
    plan = apps.get_model("accounts", "Plan")
    for fields in PLANS:
        plan.objects.get_or_create(code=fields["code"], defaults=fields)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(create_plans, migrations.RunPython.noop)]
