"""The likeliest classes of your own videos: python scripts/predict.py VIDEO|FOLDER… [--model M]"""

import json
import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with command_errors("predict") as ending:
        from vidbench.arguments import PredictSettings  # here, so that Ctrl-C while they load ends as it does later
        from vidbench.run import predict_files
        from vidbench.utils import UserError

        arguments = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
        settings = parse_settings(PredictSettings, arguments, prog="predict.py", description=__doc__)
        ending.debug = settings.debug
        if settings.runtime == "jax":
            os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it when it is imported, which comes later
        logging.basicConfig(level=logging.INFO if settings.verbose else logging.WARNING, format="%(message)s")
        answers = predict_files(settings)
        print(json.dumps(answers, indent=1, ensure_ascii=False) if settings.json else for_people(answers))
        if all("error" in answer for answer in answers):
            raise UserError("none of the videos could be scored")


def for_people(answers: list[dict]) -> str:
    """The answers as lines; first what the model has seen, because of anything else it knows nothing."""
    lines = [f"{answers[0]['model']} has seen {answers[0]['domain']}; of anything else its answers mean little"]
    for answer in answers:
        lines.append(answer["video"])
        lines += [f"  {guess['probability']:7.2%}  {guess['class']}" for guess in answer.get("predictions", ())]
        lines += [f"  not scored: {answer['error']}"] if "error" in answer else []
    return "\n".join(lines)


if __name__ == "__main__":
    main()
