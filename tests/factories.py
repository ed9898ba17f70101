"""Rows for tests, each valid by itself."""

from __future__ import annotations

import factory
from django.utils import timezone

from accounts.models import ApiKey, Membership, Plan, Role, Tenant, User
from accounts.quotas import today
from chatapp.chat.models import Conversation, Generation, Message


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"person{n}@example.com")
    password = factory.django.Password("correct horse battery")


class PlanFactory(factory.django.DjangoModelFactory):
    """A plan of its own per test; the three seeded ones are ``Plan.objects.get(code=…)``."""

    class Meta:
        model = Plan

    code = factory.Sequence(lambda n: f"plan{n}")
    name = factory.Sequence(lambda n: f"Plan {n}")
    requests_per_minute = None
    tokens_per_day = 100_000
    concurrent_answers = 8
    max_output_tokens = 256


class TenantFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Tenant

    name = factory.Sequence(lambda n: f"Workspace {n}")
    slug = factory.Sequence(lambda n: f"workspace-{n}")
    plan = factory.SubFactory(PlanFactory)


class MembershipFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    tenant = factory.SubFactory(TenantFactory)
    role = Role.OWNER


class ScopedFactory(factory.django.DjangoModelFactory):
    """Rows of a tenant are written through the unscoped manager: a factory stands at no door."""

    class Meta:
        abstract = True

    @classmethod
    def _get_manager(cls, model_class):
        return model_class.everyone


class ConversationFactory(ScopedFactory):
    """``ConversationFactory(membership=…)``: a conversation of that person."""

    class Meta:
        model = Conversation
        exclude = ("membership",)

    membership = factory.SubFactory(MembershipFactory)
    tenant = factory.SelfAttribute("membership.tenant")
    user = factory.SelfAttribute("membership.user")
    title = factory.Sequence(lambda n: f"Conversation {n}")


class MessageFactory(ScopedFactory):
    class Meta:
        model = Message

    conversation = factory.SubFactory(ConversationFactory)
    tenant = factory.SelfAttribute("conversation.tenant")
    role = Message.Role.USER
    text = factory.Sequence(lambda n: f"Message {n}")


class AnswerFactory(MessageFactory):
    """An ended answer under a question, at the end of its conversation's shown branch."""

    parent = factory.SubFactory(MessageFactory, conversation=factory.SelfAttribute("..conversation"))
    role = Message.Role.ASSISTANT
    model = "test"
    ended_at = factory.LazyFunction(timezone.now)

    @factory.post_generation
    def _show(self, create, extracted, **kwargs):
        self.conversation.show(self)


class GenerationFactory(ScopedFactory):
    """How an answer was made; finished unless told otherwise."""

    class Meta:
        model = Generation

    message = factory.SubFactory(AnswerFactory)
    tenant = factory.SelfAttribute("message.tenant")
    user = factory.SelfAttribute("message.conversation.user")
    state = Generation.State.DONE
    model = "test"
    model_revision = "r1"
    prompt_version = "test"
    reserved_on = factory.LazyFunction(today)
    started_at = factory.LazyFunction(timezone.now)
    finished_at = factory.LazyFunction(timezone.now)


class ApiKeyFactory(ScopedFactory):
    """``ApiKeyFactory(membership=…)``: a key of that person. ``key.secret`` is what a program sends."""

    class Meta:
        model = ApiKey
        exclude = ("membership",)

    membership = factory.SubFactory(MembershipFactory)
    tenant = factory.SelfAttribute("membership.tenant")
    user = factory.SelfAttribute("membership.user")
    name = factory.Sequence(lambda n: f"Key {n}")

    @classmethod
    def _create(cls, model_class, *args, **fields):
        key = model_class(**fields)
        key.secret = key.draw_secret()
        key.save()
        return key
