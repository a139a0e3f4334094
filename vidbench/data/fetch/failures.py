"""Why YouTube's videos do not come: yt-dlp's messages, sorted by what to do about them."""

import re
from dataclasses import dataclass

WORDS = 200  # characters of a message that are kept
JAVASCRIPT = "often for want of a JavaScript runtime: install Deno, https://deno.com"


@dataclass(frozen=True)
class Kind:
    """Why a video cannot be had.

    pattern: of yt-dlp's messages. again: asked for again by the next call: "always", "never", or with "cookies".
    patience: so many in a row end the run, since the next video will not come either; 0 for troubles of one video.
    """

    pattern: str
    again: str = "always"
    patience: int = 0
    advice: str = ""


KINDS = {  # the first that matches counts; YouTube says "Video unavailable" in front of many others
    "rate-limited": Kind(r"rate.limited|HTTP Error 429|Too Many Requests|content isn.t available, try again later"),
    "bot check": Kind(r"not a bot|captcha", patience=3, advice="give the cookies of a browser with --cookies FILE"),
    "age": Kind(r"confirm your age|age.restricted|inappropriate for some users", "cookies"),
    "country": Kind(r"(?:in|from) your (?:country|location)|geo.?restrict", "never"),
    "private": Kind(r"private video|video is private|members|requires? (?:payment|purchase)|Premium", "never"),
    "removed": Kind(
        r"Video unavailable|video (?:is (?:not |un)|isn.t )available|no longer available|has been removed"
        r"|does not exist|account .*(?:terminated|closed)|HTTP Error (?:404|410)|Incomplete YouTube ID",
        "never",
    ),
    "shortened": Kind(r"the video ends at", "never"),
    "login": Kind(
        r"sign in|log in", "cookies", patience=10, advice="give the cookies of a browser with --cookies FILE"
    ),
    # 228 is how ffmpeg says ENOSPC, 28: the lowest byte of -28
    "disk full": Kind(r"No space left on device|quota exceeded|ffmpeg exited with code 228"),
    "format": Kind(
        r"HTTP Error 403|format is not available|Only images are available|No video formats|n challenge|signature",
        patience=10,
        advice=JAVASCRIPT,
    ),
    "network": Kind(
        r"HTTP Error 5\d\d|timed out|refused|reset by peer|unreachable|resolve|resolution|not known|closed connection"
        r"|IncompleteRead|SSL|CERTIFICATE|proxy",
        patience=5,
        advice="is the network up?",
    ),
    "download": Kind(r"ffmpeg exited|left no file", patience=10, advice=JAVASCRIPT),  # ffmpeg does not say why
}
OTHER = "other"


def kind_of(message: str) -> str:
    """The kind of failure that a message of yt-dlp tells of: a name of KINDS, or "other".

    >>> kind_of("ERROR: [youtube] 0wR5jVB-WPk: Private video. Sign in if you've been granted access to this video")
    'private'
    """
    return next((name for name, kind in KINDS.items() if re.search(kind.pattern, message, re.IGNORECASE)), OTHER)


def words_of(message: str) -> str:
    """What a person needs of a message: no colours, no name of the extractor, no advice on yt-dlp's own flags.

    >>> words_of("ERROR: [youtube] 0wR5jVB-WPk: Please sign in. Use --cookies for the authentication")
    'Please sign in'
    """
    plain = re.sub(r"\x1b\[[\d;]*m", "", message)
    plain = re.sub(r"^\s*ERROR:\s*(?:\[[^\]]+\]\s*(?:\S+:\s*)?)?", "", plain)
    plain = re.split(r"\s*\(caused by|;? *please report this issue|\.? *Use --|\.? *It is recommended", plain)[0]
    return " ".join(plain.split())[:WORDS] or "no reason given"
