from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0002_api_calls'),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='pays_prompt',
            field=models.BooleanField(db_default=True, default=True, help_text='Of several answers to one call, the first does.'),
        ),
    ]
