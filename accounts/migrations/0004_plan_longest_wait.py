"""How long a plan's messages may wait; more for the plans that pay for it."""

from django.db import migrations, models

LONGEST_WAITS = {"free": 120, "team": 300, "enterprise": 900}


def set_longest_waits(apps, schema_editor):
    plan = apps.get_model("accounts", "Plan")
    for code, seconds in LONGEST_WAITS.items():
        plan.objects.filter(code=code).update(longest_wait=seconds)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_api_keys")]
    operations = [
        migrations.AddField(
            model_name="plan",
            name="longest_wait",
            field=models.PositiveIntegerField(
                blank=True,
                default=120,
                help_text="Seconds a new message may be expected to wait for its turn; beyond that it is refused.",
                null=True,
            ),
        ),
        migrations.RunPython(set_longest_waits, migrations.RunPython.noop),
    ]
