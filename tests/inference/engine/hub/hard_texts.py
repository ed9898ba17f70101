# ruff: noqa: E501
"""Texts that tokenizers cut differently where they are not the same."""

from __future__ import annotations

import random
import unicodedata

TEXTS = [
    "Hello, world! It's 2024; we'll see. I'VE SEEN IT, they'RE here, 'tis o'clock, can't've, y'all'd",
    " leading", "trailing ", "  two", "   three   inside   and after   ", "\t tab\tand\t\ttabs ", " \t \n \t mixed",
    "\n", "\n\n", "\n\n\n\n", " \n", "\n ", " \n \n  \n", "line\nline\r\nline\r\rline\n\n\nend", "a\n\n  b\n   c\n",
    "0", "12", "123", "1234567890", "3.14159", "1,234,567.89", "2024-11-26T06:15:22Z", "0x1F 0b101 1e-10", "１２３ ४५६ ٤٥٦",
    "½ ¾ ² ³ ⁴ ₅ Ⅷ ⅻ ① ⑳ 一二三", "$100 €50 £20 ¥3000 ₹7 ₿1", "50% off!!! #1 @home & away *bold* _it_ ~~no~~ `code`",
    "École ÉCOLE éCOLE naïve façade Ångström ÅNGSTRÖM coöperate", unicodedata.normalize("NFD", "École naïve Ångström Việt"),
    "Straße STRASSE groß İstanbul ıssız ǅ ǆ ſ Kelvin K ﬁne ﬂow", "Привет, мир! Ёлка ПРИВЕТ", "Γειά σου Κόσμε ΑΒΓ ς",
    "你好，世界！这是一个测试。我有3只猫。", "日本語のテキスト、カタカナとひらがな。ＡＢＣ", "안녕하세요 세계! 한국어 텍스트", "สวัสดีชาวโลก", "नमस्ते दुनिया, हिन्दी में",
    "مرحبا بالعالم، هذا اختبار", "שָׁלוֹם עוֹלָם", "ગુજરાતી বাংলা தமிழ் తెలుగు ಕನ್ನಡ", "Tiếng Việt có dấu", "ქართული ᲥᲐᲠᲗᲣᲚᲘ հայերեն",
    "😀 😃👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☺ ✓ → ∀x∈ℝ ∑∫√", "a\u200bb\u200cc\u200dd\u2060e\ufefff", "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g",
    "\u0000\u0001\u001b[31m\u007f\u0080", "\ufffd \ufffd\ufffd", "\ue000 \U000f0000 \U0010ffff", "𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 𐍈 𓀀 𠜎", "e\u0301\u0327\u0323 Z\u0351\u036b\u0343",
    "def f(x):\n    return x**2  # square\n\n\nif __name__ == '__main__':\n\tprint(f\"{f(3)!r}\")\n",
    "<div class=\"a\">&nbsp;</div>\n<!-- no -->", "https://example.com/a_b-c?d=e&f=%20#g user@example.org C:\\Users\\x\\y.txt",
    "{\"key\": [1, 2.5, null, true], \"nested\": {\"a\": \"b\\n\"}}", "((((()))))[[[]]]{{{}}}<<<>>>", "-----=====+++++_____~~~~~.....,,,,,",
    "!!!???!?!?", "...", "…", "—–-‐‑", "“quotes” ‘single’ «guillemets» „low“", "a/b\\c|d", "camelCaseWords PascalCase snake_case SCREAMING_CASE kebab-case",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab", "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "▁ ▁▁ already ▁there", "Ġ Ċ Ġhello", "<0x0A> <unk> <s> </s>", "word.word,word;word:word", "I'm I'M i'm 'S 'D it'S", "a'b'c'd 's 't", " 's  't",
    "x=1;y=2;z=x+y//3%4", "#include <stdio.h>\nint main(void){return 0;}\n", "SELECT * FROM t WHERE a<>'b' AND c>=10;",
    " " * 2 + "a" + " " * 3 + "b" + " " * 5 + "c" + " " * 16 + "d" + " " * 40, "\n" * 9 + "x" + "\t" * 7, "мир世界world123мир", "abc你好def", "3只猫2dogs", "A1B2C3",
]  # fmt: skip


def drawn_texts(count: int, seed: int = 5) -> list[str]:
    """Pieces of the texts above and single characters from all over, in any order."""
    rng = random.Random(seed)
    pieces = [piece for text in TEXTS for piece in (text[:3], text[-4:], text[len(text) // 2 :][:6]) if piece]
    everywhere = [
        chr(number) for number in range(0x20, 0x2FA1E) if unicodedata.category(chr(number)) not in ("Cn", "Cs")
    ]
    return [
        "".join(rng.choice((rng.choice(pieces), rng.choice(everywhere), " ", "\n", "1")) for _ in range(200))
        for _ in range(count)
    ]
