"""Triton kernels. Attention reads the paged cache in place, ``[blocks, block_size, kv_heads, D]``: a tile of
positions at a time, through the sequence's list of block ids, with a running softmax in float32 (Milakov and
Gimelshein 2018). Capitals are constants of the compilation; ``*_PAD`` is the next power of two. Slots and rows
are int64, since times their width they do not fit 32 bits.
"""

import triton
import triton.language as tl


@triton.jit
def fold(
    query, keys, values, table, begin, whole, end, oldest, newest, scale,
    CAP: tl.constexpr, TILE: tl.constexpr, BLOCK_SIZE: tl.constexpr, KV_HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr, KEY_PAD: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_PAD: tl.constexpr,
):  # fmt: skip
    """The weighted values of keys ``begin`` to ``end`` for ``query`` [M, KEY_PAD], the weights' sum and the highest
    score. Row m sees positions ``oldest[m]`` to ``newest[m]``; keys before ``whole``, in whole tiles, all rows see.

    Scores are logarithms to base 2.
    """
    d, v = tl.arange(0, KEY_PAD), tl.arange(0, VALUE_PAD)
    highest = tl.full([query.shape[0]], float("-inf"), tl.float32)
    total = tl.full([query.shape[0]], 0.0, tl.float32)
    result = tl.full([query.shape[0], VALUE_PAD], 0.0, tl.float32)
    for masked in tl.static_range(2):
        for tile in range(whole if masked else begin, end if masked else whole, TILE):
            position = tile + tl.arange(0, TILE)
            there = position < end
            slot = tl.load(table + position // BLOCK_SIZE, mask=there, other=0) * BLOCK_SIZE + position % BLOCK_SIZE
            place = keys + slot[None, :] * (KV_HEADS * KEY_DIM) + d[:, None]
            key = tl.load(place, mask=there[None, :] & (d[:, None] < KEY_DIM), other=0.0)
            score = tl.dot(query, key, input_precision="tf32x3") * scale
            if CAP is not None:
                score = (2 * tl.sigmoid(score * (2 / CAP)) - 1) * CAP  # tanh
            score *= 1.4426950408889634
            if masked:
                seen = (position[None, :] >= oldest[:, None]) & (position[None, :] <= newest[:, None])
                score = tl.where(seen & there[None, :], score, float("-inf"))
            risen = tl.maximum(highest, tl.max(score, 1))
            base = tl.where(risen == float("-inf"), 0.0, risen)
            weight = tl.exp2(score - base[:, None])
            fade = tl.exp2(highest - base)
            place = values + slot[:, None] * (KV_HEADS * VALUE_DIM) + v[None, :]
            value = tl.load(place, mask=there[:, None] & (v[None, :] < VALUE_DIM), other=0.0)
            result = tl.dot(weight.to(value.dtype), value, result * fade[:, None], input_precision="tf32x3")
            total = total * fade + tl.sum(weight, 1)
            highest = risen
    return result, tl.where(total == 0.0, 1.0, total), highest  # without keys: nothing, over 1


@triton.jit
def decode(
    query, keys, values, output, partial, partial_log, rows, lengths, tables_at, tables, scale,
    query_row, query_head,
    CAP: tl.constexpr, WINDOW: tl.constexpr, SPLITS: tl.constexpr, SHARING: tl.constexpr, PADDED: tl.constexpr,
    TILE: tl.constexpr, BLOCK_SIZE: tl.constexpr, KV_HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr, KEY_PAD: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_PAD: tl.constexpr,
):  # fmt: skip
    seq, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    m, d, v = tl.arange(0, PADDED), tl.arange(0, KEY_PAD), tl.arange(0, VALUE_PAD)
    row, length = tl.load(rows + seq), tl.load(lengths + seq)
    begin = length * 0
    if WINDOW is not None:
        begin = tl.maximum(length - WINDOW, 0)
    share = tl.cdiv(tl.cdiv(length - begin, SPLITS), TILE) * TILE
    begin += split * share
    end = tl.minimum(begin + share, length)
    whole = begin + tl.maximum(end - begin, 0) // TILE * TILE
    place = query + row * query_row + (kv_head * SHARING + m)[:, None] * query_head + d[None, :]
    q = tl.load(place, mask=(m < SHARING)[:, None] & (d < KEY_DIM)[None, :], other=0.0)
    own_keys, own_values = keys + kv_head * KEY_DIM, values + kv_head * VALUE_DIM
    table = tables + tl.load(tables_at + seq)
    oldest = tl.full([PADDED], 0, tl.int64)
    newest = oldest + (length - 1)
    result, total, highest = fold(
        q, own_keys, own_values, table, begin, whole, end, oldest, newest, scale,
        CAP, TILE, BLOCK_SIZE, KV_HEADS, KEY_DIM, KEY_PAD, VALUE_DIM, VALUE_PAD,
    )  # fmt: skip
    result /= total[:, None]
    filled = (m < SHARING)[:, None] & (v < VALUE_DIM)[None, :]
    head = (row if SPLITS == 1 else seq) * (KV_HEADS * SHARING) + kv_head * SHARING + m
    if SPLITS == 1:
        place = output + head[:, None] * VALUE_DIM + v[None, :]
        tl.store(place, result.to(output.dtype.element_ty), mask=filled)
    else:
        tl.store(partial_log + head * SPLITS + split, highest + tl.log2(total), mask=m < SHARING)
        place = partial + (head[:, None] * SPLITS + split) * VALUE_DIM + v[None, :]
        tl.store(place, result, mask=filled & (begin < end))


@triton.jit
def merge(
    partial, partial_log, output, rows,
    HEADS: tl.constexpr, SPLITS: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_PAD: tl.constexpr,
):  # fmt: skip
    """Weigh each split's result by the sum of its exponentials; a split without keys has none."""
    seq, head = tl.program_id(0), tl.program_id(1)
    s, v = tl.arange(0, SPLITS), tl.arange(0, VALUE_PAD)
    at = (seq.to(tl.int64) * HEADS + head) * SPLITS + s
    logs = tl.load(partial_log + at)
    weight = tl.exp2(logs - tl.max(logs, 0))
    filled = (logs > float("-inf"))[:, None] & (v < VALUE_DIM)[None, :]
    results = tl.load(partial + at[:, None] * VALUE_DIM + v[None, :], mask=filled, other=0.0)
    merged = tl.sum(results * weight[:, None], 0) / tl.sum(weight, 0)
    place = output + (tl.load(rows + seq) * HEADS + head) * VALUE_DIM + v
    tl.store(place, merged.to(output.dtype.element_ty), mask=v < VALUE_DIM)


@triton.jit
def chunk(
    query, keys, values, output, rows, starts, lengths, tables_at, tile_seqs, tile_offsets, tables, scale,
    query_row, query_head,
    CAP: tl.constexpr, WINDOW: tl.constexpr, SHARING: tl.constexpr, PADDED: tl.constexpr,
    TILE: tl.constexpr, BLOCK_SIZE: tl.constexpr, KV_HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr, KEY_PAD: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_PAD: tl.constexpr,
):  # fmt: skip
    tile, head = tl.program_id(0), tl.program_id(1)
    seq, offset = tl.load(tile_seqs + tile), tl.load(tile_offsets + tile)
    m, d, v = tl.arange(0, PADDED), tl.arange(0, KEY_PAD), tl.arange(0, VALUE_PAD)
    length = tl.load(lengths + seq)
    first = tl.load(starts + seq) + offset
    newest = first + m
    filled = newest < length
    row = tl.load(rows + seq) + offset + m
    place = query + row[:, None] * query_row + head * query_head + d[None, :]
    q = tl.load(place, mask=filled[:, None] & (d < KEY_DIM)[None, :], other=0.0)
    kv_head = head // SHARING
    own_keys, own_values = keys + kv_head * KEY_DIM, values + kv_head * VALUE_DIM
    table = tables + tl.load(tables_at + seq)
    end = tl.minimum(first + PADDED, length)
    if WINDOW is None:
        oldest = newest * 0
        begin = first * 0
        whole = (first + 1) // TILE * TILE
    else:
        oldest = newest - WINDOW + 1
        begin = tl.maximum(first - WINDOW + 1, 0)
        whole = begin
    result, total, _ = fold(
        q, own_keys, own_values, table, begin, whole, end, oldest, newest, scale,
        CAP, TILE, BLOCK_SIZE, KV_HEADS, KEY_DIM, KEY_PAD, VALUE_DIM, VALUE_PAD,
    )  # fmt: skip
    result /= total[:, None]
    place = output + (row[:, None] * (KV_HEADS * SHARING) + head) * VALUE_DIM + v[None, :]
    tl.store(place, result.to(output.dtype.element_ty), mask=filled[:, None] & (v < VALUE_DIM)[None, :])


@triton.jit
def write(
    key, value, keys, values, slots, key_row, key_head, value_row, value_head,
    HEADS: tl.constexpr, HEADS_PAD: tl.constexpr,
    KEY_DIM: tl.constexpr, KEY_PAD: tl.constexpr, VALUE_DIM: tl.constexpr, VALUE_PAD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row)
    h, d, v = tl.arange(0, HEADS_PAD)[:, None], tl.arange(0, KEY_PAD)[None, :], tl.arange(0, VALUE_PAD)[None, :]
    filled = (h < HEADS) & (d < KEY_DIM)
    numbers = tl.load(key + row * key_row + h * key_head + d, mask=filled)
    tl.store(keys + (slot * HEADS + h) * KEY_DIM + d, numbers, mask=filled)
    filled = (h < HEADS) & (v < VALUE_DIM)
    numbers = tl.load(value + row * value_row + h * value_head + v, mask=filled)
    tl.store(values + (slot * HEADS + h) * VALUE_DIM + v, numbers, mask=filled)


@triton.jit
def normalize(inputs, weight, output, row_stride, epsilon, EARLY: tl.constexpr, SIZE: tl.constexpr, PAD: tl.constexpr):
    row, n = tl.program_id(0).to(tl.int64), tl.arange(0, PAD)
    x = tl.load(inputs + row * row_stride + n, mask=n < SIZE, other=0.0).to(tl.float32)
    x *= tl.rsqrt(tl.sum(x * x, 0) / SIZE + epsilon)
    w = tl.load(weight + n, mask=n < SIZE, other=0.0)
    if EARLY:  # rounded before it is weighted
        x = x.to(output.dtype.element_ty).to(tl.float32)
    tl.store(output + row * SIZE + n, (x * w).to(output.dtype.element_ty), mask=n < SIZE)


@triton.jit
def resolve(token_ids, sampled):
    row = tl.program_id(0)
    token = tl.load(token_ids + row)
    if token < 0:
        tl.store(token_ids + row, tl.load(sampled - 1 - token))


@triton.jit
def prepare(
    qkv, cos, sin, query_norm, key_norm, query, keys, values, slots, epsilon,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, PAD: tl.constexpr, ROTARY: tl.constexpr,
    NORMED: tl.constexpr,
):  # fmt: skip
    """One head of one row of ``qkv`` [T, (HEADS + 2 KV_HEADS) * DIM]: normalised where ``NORMED``, rotated by halves
    where ``ROTARY`` is not 0, and written to ``query`` or to its slot.
    """
    row, head, d = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.arange(0, PAD)
    inputs = qkv + (row * (HEADS + 2 * KV_HEADS) + head) * DIM
    number = tl.load(inputs + d, mask=d < DIM, other=0.0)
    slot = tl.load(slots + row)
    if head >= HEADS + KV_HEADS:
        tl.store(values + (slot * KV_HEADS + head - HEADS - KV_HEADS) * DIM + d, number, mask=d < DIM)
    else:
        x = number.to(tl.float32)
        norm = key_norm if head >= HEADS else query_norm
        scale = 1.0
        if NORMED:
            scale = tl.rsqrt(tl.sum(x * x, 0) / DIM + epsilon)
            x *= scale * tl.load(norm + d, mask=d < DIM, other=0.0)
        if ROTARY > 0:
            half = (d + ROTARY // 2) % ROTARY  # where the number lies that this one is rotated with
            rotated = d < ROTARY
            other = tl.load(inputs + half, mask=rotated, other=0.0).to(tl.float32)
            if NORMED:
                other *= scale * tl.load(norm + half, mask=rotated, other=0.0)
            c = tl.load(cos + row * ROTARY + d, mask=rotated, other=1.0).to(tl.float32)
            s = tl.load(sin + row * ROTARY + d, mask=rotated, other=0.0).to(tl.float32)
            x = x * c + tl.where(d < ROTARY // 2, -other, other) * s
        if head >= HEADS:
            place = keys + (slot * KV_HEADS + head - HEADS) * DIM
        else:
            place = query + (row * HEADS + head) * DIM
        tl.store(place + d, x.to(query.dtype.element_ty), mask=d < DIM)


@triton.jit
def gate(both, output, size, GELU: tl.constexpr):
    """``activation(left half) * right half`` of each row of ``both`` [rows, 2 * size]."""
    row, n = tl.program_id(1).to(tl.int64), tl.program_id(0) * 1024 + tl.arange(0, 1024)
    x = tl.load(both + row * 2 * size + n, mask=n < size, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * size + size + n, mask=n < size, other=0.0).to(tl.float32)
    if GELU:  # its approximation by tanh, written as a sigmoid
        x *= tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    else:
        x *= tl.sigmoid(x)
    tl.store(output + row * size + n, (x * up).to(output.dtype.element_ty), mask=n < size)


@triton.jit
def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)


@triton.jit(do_not_specialize=["count"])  # which is another one in every batch
def nucleus(weights, limits, states, columns, count, size, TILE: tl.constexpr):
    """Draw until the weights above the one drawn are less than the limit; what is not above one outside is outside."""
    row, n = tl.program_id(0).to(tl.int64), tl.arange(0, TILE)
    own = weights + row * size
    limit = tl.load(limits + row)
    hashed, step = tl.load(states + row).to(tl.uint64), tl.load(states + count + row).to(tl.uint64)
    state = hashed + step * 0x9E3779B97F4A7C15
    floor = tl.full([], 0.0, tl.float32)
    total = tl.full([], 0.0, tl.float64)
    for tile in range(0, size, TILE):
        weight = tl.load(own + tile + n, mask=tile + n < size, other=0.0)
        total += tl.sum(weight.to(tl.float64), 0)
    column = tl.full([], 0, tl.int32)
    drawing = tl.full([], 1, tl.int32)
    while drawing != 0:
        point = (mix(state) >> 16).to(tl.float64) * (1.0 / 281474976710656.0) * total
        state += 0xD1342543DE82EF95
        passed = tl.full([], 0.0, tl.float64)
        column = tl.full([], 0, tl.int32) + size
        last = tl.full([], 0, tl.int32)
        for tile in range(0, size, TILE):
            weight = tl.load(own + tile + n, mask=tile + n < size, other=0.0)
            left = weight > floor
            ends = passed + tl.cumsum(tl.where(left, weight, 0.0).to(tl.float64), 0)
            column = tl.minimum(column, tl.min(tl.where(left & (ends > point), tile + n, size), 0))
            last = tl.maximum(last, tl.max(tl.where(left, tile + n, 0), 0))
            passed = tl.max(ends, 0)
        column = tl.where(column == size, last, column)  # rounding must not lead past the last
        floor = tl.load(own + column)
        total = tl.full([], 0.0, tl.float64)
        for tile in range(0, size, TILE):
            weight = tl.load(own + tile + n, mask=tile + n < size, other=0.0)
            total += tl.sum(tl.where(weight > floor, weight, 0.0).to(tl.float64), 0)
        drawing = (total >= limit).to(tl.int32)  # never of NaN
    tl.store(columns + row, column.to(tl.int64))
