"""What a model makes of first messages: ``python -m scripts.try_suggestions MODEL [FILE]``.

Reads one message a line from FILE, else the model's suggestions, and prints a few answers to each, drawn as the product
draws them: its system message, the model's own sampling, several seeds. What is kept in ``chatapp/web/suggestions.py``
did well in all of them; docs/suggestions.md has the answers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatapp.chat.prompts import Instructions, Turn, assemble_answer, assemble_title
from chatapp.web.suggestions import suggestions
from inference.demo import MODEL_PATH
from inference.engine import LLM, SamplingParams
from inference.messages import ChatMessage
from inference.model_names import describe_model
from inference.packaged import packaged_model

MOST_TOKENS = 400


def main() -> None:
    options = _parse()
    llm = LLM(options.model)
    questions = (
        options.file.read_text().split("\n") if options.file else suggestions(describe_model(options.model).name)
    )
    for question in filter(None, questions):
        print(f"## {question}\n")
        for number, text in enumerate(_answers(llm, question, options.seeds), 1):
            print(f"{number}. {_quoted(text)}\n")
        print(f"Title: {_title(llm, question)}\n", flush=True)


def _answers(llm: LLM, question: str, seeds: int) -> list[str]:
    prompt = _prompt(llm, assemble_answer([Turn("user", question)], Instructions()))
    params = [llm.engine.sampling_params(max_tokens=MOST_TOKENS, seed=seed) for seed in range(seeds)]
    return [answer.outputs[0].text for answer in llm.generate([prompt] * seeds, params)]


def _title(llm: LLM, question: str) -> str:
    params = SamplingParams(max_tokens=24, temperature=0.0)
    return llm.generate([_prompt(llm, assemble_title(question))], params)[0].outputs[0].text.strip()


def _prompt(llm: LLM, messages: tuple[ChatMessage, ...]) -> list[int]:
    tokens: list[int] = llm.engine.render_chat([{"role": each.role, "content": each.content} for each in messages])
    return tokens


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=str(packaged_model() or MODEL_PATH), help="default: as make run")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    return parser.parse_args()


def _quoted(text: str) -> str:
    return text.strip().replace("\n", "\n   ")


if __name__ == "__main__":
    main()
