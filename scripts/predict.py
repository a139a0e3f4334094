"""The likeliest classes of your own videos: python scripts/predict.py VIDEO|FOLDER… [--model M]"""

import json
import logging
import os

from vidbench.arguments import PredictSettings
from vidbench.commands import command_errors, parse_settings
from vidbench.run import predict_files
from vidbench.utils import UserError


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with command_errors("predict") as ending:
        settings = parse_settings(PredictSettings, prog="predict.py", description=__doc__)
        ending.debug = settings.debug
        logging.basicConfig(level=logging.INFO if settings.verbose else logging.WARNING, format="%(message)s")
        answers = predict_files(settings)
        print(json.dumps(answers, indent=1, ensure_ascii=False) if settings.json else "\n".join(map(lines, answers)))
        if all("error" in answer for answer in answers):
            raise UserError("none of the videos could be scored")


def lines(answer: dict) -> str:
    """One video's answer for people."""
    if "error" in answer:
        return f"{answer['video']}\n  not scored: {answer['error']}"
    guesses = [f"  {guess['probability']:7.2%}  {guess['class']}" for guess in answer["predictions"]]
    return "\n".join([f"{answer['video']}  ({answer['model']}, trained on {answer['domain']})", *guesses])


if __name__ == "__main__":
    main()
