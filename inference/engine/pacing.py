"""How much prompt a step may compute beside decodes, and how much at all where memory is short. Pure.

Who calls brings the measured times: nothing here reads a clock, so that a simulator may drive it.
"""

from __future__ import annotations

from .sequence import Chunk

FIRST_CHUNK = 64  # tokens of a prompt while nobody knows what they take
LONGEST = 4.0  # seconds of a step that computes prompts alone: well within what a worker's link takes for a hang
STRETCH = 1.75  # a step with a prompt's chunk may take so much longer than one of decodes alone
SMALLEST_CHUNK, SMALLEST_SHARE = 8, 64  # a prompt always moves on by so many tokens, or this part of the budget
YOUNG = 4  # tokens of an answer that nobody is reading in step yet
LONGEST_BESIDE_YOUNG = 0.25  # seconds of a step that computes prompts beside answers of which most are young
BURST_STEPS = 16  # such steps in a row
BURST_REST = 16  # other steps beside answers until one more may follow: a stream of short answers is always young
REMEASURE = 32  # steps with a chunk between two without one, by which decodes alone are measured
MEMORY = 0.8  # weight of what was known in each new average
UNLIKE = 0.2  # steps' sizes whose deviation is this share of their mean tell a fixed cost apart
LARGER = 1.5  # times the last trial's size, to tell whether it is the size that takes long

LEAST_TOKENS = 16  # below it fewer tokens spare no memory worth having
PATIENCE = 256  # steps that went well before more is tried again


class StepCost:
    """What a step that reads prompts takes: ``fixed`` seconds, and ``each`` for every token of it, decodes included.

    Both follow from steps of unlike sizes, by a line through them in which older steps count less. While all are alike
    the ``fixed`` of before stands, nothing at first, and ``each`` is what remains for a token.
    """

    def __init__(self) -> None:
        self.fixed = self.each = 0.0
        self.told_apart = False  # whether ``fixed`` was ever measured
        self.usual = 0.0  # tokens of the steps so far
        self._sums = [0.0] * 5  # of weights, tokens, seconds, tokens squared, tokens times seconds

    def observe(self, tokens: int, seconds: float) -> None:
        new = (1.0, tokens, seconds, tokens * tokens, tokens * seconds)
        self._sums = [MEMORY * old + added for old, added in zip(self._sums, new, strict=True)]
        weight, x, y, xx, xy = self._sums
        self.usual, mean = x / weight, y / weight
        spread = xx / weight - self.usual**2
        if spread > (UNLIKE * self.usual) ** 2:
            each = (xy / weight - self.usual * mean) / spread
            self.fixed, self.told_apart = min(max(mean - each * self.usual, 0.0), mean), True
        # Never for nothing: a step that was quick by chance must not let the next one grow without bound.
        self.each = max(mean - self.fixed, mean / 4) / self.usual


class Pacer:
    """Sizes prefill chunks so that the gaps between the tokens of running answers stay even.

    ``budget`` is the most tokens of a step. There are two kinds of steps, which may have little in common: of decodes
    alone, whose launches a device may have recorded, so that it takes what it takes per power of two of its size; and
    with prompts, ``StepCost``. What the second kind takes at least is not the prompt's fault, and a smaller chunk would
    only mean more such steps.
    """

    def __init__(self, budget: int) -> None:
        self._most = budget
        self._least = min(budget, max(SMALLEST_CHUNK, budget // SMALLEST_SHARE))
        self._alone: dict[int, float] = {}  # seconds of a step by the bits of its number of decodes
        self._cost = StepCost()
        self._trial: float = self._least
        self._since_alone = 0
        self._burst_steps: float = BURST_STEPS

    def limit(self, num_decodes: int, num_young: int = 0) -> int:
        """Most prefill tokens of the next step, for which it is asked once. 0: let the decodes go alone, so that they
        can be measured.

        ``num_young``: decodes of answers with no more than ``YOUNG`` tokens. Where they are most, many came at once,
        and those whose prompts are read give the others a moment.
        """
        known = self._cost.usual > 0
        if num_decodes == 0:
            self._burst_steps = BURST_STEPS
            return min(self._most, self._affordable(LONGEST) if known else FIRST_CHUNK)
        if 2 * num_young > num_decodes and known and self._burst_steps >= 1:
            self._burst_steps -= 1
            return self._affordable(LONGEST_BESIDE_YOUNG)
        self._burst_steps = min(BURST_STEPS, self._burst_steps + 1 / BURST_REST)
        alone = self._alone.get(num_decodes.bit_length())
        if alone is None or self._since_alone >= REMEASURE:
            return 0
        return self._beside(num_decodes, alone) if known else self._least

    def _beside(self, num_decodes: int, alone: float) -> int:
        """Tokens of a chunk that stretches a step by no more than it may."""
        cost = self._cost
        tokens = self._affordable((STRETCH - 1) * max(alone, cost.fixed + cost.each * num_decodes) + cost.fixed)
        if tokens > self._least or cost.told_apart:
            return tokens
        # Is it the tokens that take so long, or any such step?
        trial, self._trial = self._trial, min(self._trial * LARGER, self._most)
        return int(trial)

    def _affordable(self, seconds: float) -> int:
        """Tokens that a step of so many ``seconds`` has."""
        return min(max(round((seconds - self._cost.fixed) / self._cost.each), self._least), self._most)

    def observe(self, chunks: list[Chunk], seconds: float) -> None:
        """A step of ``chunks`` took so long."""
        decodes = sum(1 for chunk in chunks if chunk.length == 1)
        tokens = sum(chunk.length for chunk in chunks)
        size = decodes.bit_length()
        if tokens == decodes:
            self._alone[size] = MEMORY * self._alone.get(size, seconds) + (1 - MEMORY) * seconds
            self._since_alone = 0
            return
        self._since_alone += 1
        self._cost.observe(tokens, seconds)


class MemoryLimits:
    """What a step may hold: ``tokens`` and ``seqs``, at first as configured.

    A step that ran out of memory is tried again with half the tokens, then with half the sequences,
    whose lowest in priority thereby give way, and at last not at all.
    """

    def __init__(self, tokens: int, seqs: int) -> None:
        self._most = (tokens, seqs)
        self.tokens, self.seqs = tokens, seqs
        self._good_steps = 0

    def shrink(self, chunks: list[Chunk]) -> bool:
        """After a step without enough memory. ``False`` when there is nothing left to leave out."""
        self._good_steps = 0
        tokens = sum(chunk.length for chunk in chunks)
        if tokens > max(len(chunks), LEAST_TOKENS):
            self.tokens = max(LEAST_TOKENS, tokens // 2)
        elif len(chunks) > 1:
            self.tokens, self.seqs = max(LEAST_TOKENS, tokens), len(chunks) // 2
        else:
            return False
        return True

    def recover(self) -> None:
        """After a step that went well: in time, try more again."""
        self._good_steps += 1
        if self._good_steps >= PATIENCE:
            self._good_steps = 0
            self.tokens = min(2 * self.tokens, self._most[0])
            self.seqs = min(2 * self.seqs, self._most[1])
