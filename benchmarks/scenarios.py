"""Workloads nearer to what a chat product sees than so many equal streams at once."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from benchmarks.figures import Answer, Figures, Wave, milliseconds
from benchmarks.loads import Ask, Case, Lengths

CONTEXT = 1024  # tokens of the conversations here, which every model of the benchmark has
LONG_PROMPT, LONG_DUE = 12_000, 1.0  # the prompt that interferes, and the second in which it comes
DECODERS = 32
LONG_CONTEXTS = (1_000, 4_000, 12_000)
POLITE, ASKS_OF_A_POLITE, ASKS_OF_THE_LOUD = 4, 4, 48


def lognormal(rng: random.Random, median: float, sigma: float, most: int) -> int:
    return max(1, min(most, round(rng.lognormvariate(math.log(median), sigma))))


def arrivals(rng: random.Random, rate: float, count: int) -> list[float]:
    """Seconds at which a Poisson process of ``rate`` per second brings its first ``count``."""
    times, now = [], 0.0
    for _ in range(count):
        now += rng.expovariate(rate)
        times.append(now)
    return times


def sharegpt(lengths: Lengths, rate: float, count: int, first_ms: float, gap_ms: float) -> Case:
    """Chats as people share them: lognormal lengths, means near 160 and 340 tokens (vLLM paper, section 6.1).

    Goodput counts the answers per second whose first token came within ``first_ms`` and whose tokens came
    ``gap_ms`` apart or less, on average.
    """

    def waves(number: int) -> list[list[Ask]]:
        rng, room = random.Random(f"sharegpt {number}"), CONTEXT - lengths.prefix
        sizes = [(lognormal(rng, 78, 1.2, room // 2), lognormal(rng, 245, 0.8, room // 2)) for _ in range(count)]
        due = arrivals(rng, rate, count)
        prompts = [lengths.shared() + lengths.draw(rng, prompt) for prompt, _ in sizes]
        return [[Ask(str(i), prompts[i], sizes[i][1], due[i]) for i in range(count)]]

    def good(answer: Answer) -> bool:
        return answer.finished and answer.first * 1000 <= first_ms and answer.mean_gap * 1000 <= gap_ms

    def more(rounds: Sequence[Sequence[Wave]]) -> Figures:
        met = [sum(map(good, wave.values())) for (wave,) in rounds]
        lasted = [max(answer.at[-1] for answer in wave.values() if answer.at) for (wave,) in rounds]
        goodput = statistics.median(number / seconds for number, seconds in zip(met, lasted, strict=True))
        return {"slo_met": round(statistics.median(met) / count, 3), "goodput_per_second": round(goodput, 2)}

    return Case(f"{rate:g} chats/s", DECODERS, CONTEXT, waves, lengths.shared(), more=more)


def multi_turn(lengths: Lengths, people: int, turns: int) -> Case:
    """Conversations that grow by question and answer; the hit rate is the share of prompt tokens not computed."""

    def conversation(rng: random.Random, person: int) -> list[Ask]:
        first = Ask(f"{person}.0", lengths.shared() + lengths.draw(rng, lengths.prompt), lengths.output)
        later = [replace(first, name=f"{person}.{turn}", follows=f"{person}.{turn - 1}") for turn in range(1, turns)]
        return [first] + [replace(ask, prompt=lengths.draw(rng, lengths.prompt)) for ask in later]

    def waves(number: int) -> list[list[Ask]]:
        rng = random.Random(f"multi-turn {number}")
        return [[ask for person in range(people) for ask in conversation(rng, person)]]

    def more(rounds: Sequence[Sequence[Wave]]) -> Figures:
        later = [answer for (wave,) in rounds for name, answer in wave.items() if not name.endswith(".0")]
        known = [answer for answer in later if answer.cached_tokens is not None]
        shares = [(answer.cached_tokens or 0) / answer.prompt_tokens for answer in known]
        hits = {"hit_rate": round(statistics.mean(shares), 3)} if shares else {}
        return {"later_first_token_p50_ms": milliseconds([answer.first for answer in later], 0.5)} | hits

    longest = lengths.prefix + turns * (lengths.prompt + lengths.output)
    return Case(f"{people} people, {turns} turns", people, longest, waves, lengths.shared(), more=more)


def interference(lengths: Lengths) -> list[Case]:
    """32 decoders without and with one long prompt that comes in their second second."""
    lengths = replace(lengths, output=512)

    def waves(disturbed: bool) -> Callable[[int], list[list[Ask]]]:
        def asks(number: int) -> list[list[Ask]]:
            rng = random.Random(f"interference {number}")
            wave = [Ask(str(i), lengths.draw(rng, lengths.prompt), lengths.output) for i in range(DECODERS)]
            long = Ask("long", lengths.draw(rng, LONG_PROMPT), 8, LONG_DUE)
            return [[*wave, long] if disturbed else wave]

        return asks

    def more(rounds: Sequence[Sequence[Wave]]) -> Figures:
        return _beside([wave for (wave,) in rounds])

    longest = LONG_PROMPT + 8
    return [
        Case("decoders alone", DECODERS, lengths.total, waves(False), more=more),
        Case("and a 12k prompt", DECODERS + 1, longest, waves(True), more=more),
    ]


def _beside(waves: Iterable[Wave]) -> Figures:
    """Gaps of the decoders from the long prompt's arrival on; until its first token where there is one."""
    gaps = []
    for wave in waves:
        long = wave.get("long")
        until = long.at[0] if long and long.at else math.inf
        for answer in (answer for name, answer in wave.items() if name != "long"):
            ends = zip(answer.gaps, answer.at[1:], strict=True)
            gaps += [gap for gap, end in ends if LONG_DUE <= end <= until]
    return {"decoder_gap_p50_ms": milliseconds(gaps, 0.5), "decoder_gap_p99_ms": milliseconds(gaps, 0.99)}


def noisy_neighbour(lengths: Lengths, slots: int) -> Case:
    """One tenant asks for far more than fits at once; four polite ones ask now and then."""

    def waves(number: int) -> list[list[Ask]]:
        rng = random.Random(f"noisy neighbour {number}")
        asks = [("loud", i, 0.0) for i in range(ASKS_OF_THE_LOUD)]
        asks += [(f"polite {p}", i, 0.5 + i) for p in range(POLITE) for i in range(ASKS_OF_A_POLITE)]
        return [
            [
                Ask(f"{tenant}/{i}", lengths.draw(rng, lengths.prompt), lengths.output, due, tenant)
                for tenant, i, due in asks
            ]
        ]

    def more(rounds: Sequence[Sequence[Wave]]) -> Figures:
        answers = [answer for (wave,) in rounds for answer in wave.values() if answer.at]
        loud = [answer.first for answer in answers if answer.tenant == "loud"]
        polite = [answer.first for answer in answers if answer.tenant != "loud"]
        return {"loud_first_p95_ms": milliseconds(loud, 0.95), "polite_first_p95_ms": milliseconds(polite, 0.95)}

    return Case("1 loud, 4 polite tenants", slots, lengths.total, waves, more=more)


def long_context(lengths: Lengths, prompt: int) -> Case:
    """One long prompt: how long to its first token, and how fast tokens come behind it."""

    def waves(number: int) -> list[list[Ask]]:
        rng = random.Random(f"long {prompt} {number}")
        return [[Ask("0", lengths.draw(rng, prompt), lengths.output)]]

    def more(rounds: Sequence[Sequence[Wave]]) -> Figures:
        rates = [answer.prompt_tokens / answer.first for (wave,) in rounds for answer in wave.values() if answer.at]
        return {"prefill_tokens_per_second": round(statistics.median(rates), 1)} if rates else {}

    return Case(f"{prompt} tokens", 1, prompt + lengths.output, waves, even=True, more=more)
