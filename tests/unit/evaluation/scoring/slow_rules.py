"""The published rules once more, written from their description, character by character: the reference."""

OUTER_MARKS = [",", ".", "!", "?", ";", ":", "'", '"']
ENGLISH = """
the answer is | answer is | the correct answer is | correct answer is | the best answer is | best answer is
the correct option is | correct option is | the best option is | best option is
the choice is | choice is | the correct choice is | correct choice is
i choose | i select | i pick | my answer is | my choice is
"""
OTHERS = ["옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"]
ANNOUNCEMENTS = [part.strip() for line in ENGLISH.strip().splitlines() for part in line.split("|")] + OTHERS


def ranked(response, letters):
    """Every letter at every place gets points for each form it stands in; most points win, then the later place."""
    text = response.strip()
    if text == "":
        return None
    for mark in OUTER_MARKS:
        while text.startswith(mark):
            text = text[1:]
        while text.endswith(mark):
            text = text[:-1]
    text = " " + text + " "
    found = []
    for place, character in enumerate(text):
        if character not in letters:
            continue
        before, after = text[place - 1], text[place + 1]
        if before == "(" and after == ")":
            found.append((6, place, character))
        for points, mark in ((5, "."), (4, ":"), (3, ")"), (2, " ")):
            if after == mark:
                found.append((points, place, character))
    for announcement in ANNOUNCEMENTS:
        pieces = text.lower().split(announcement)
        if len(pieces) > 1:
            start = len(pieces[0]) + len(announcement)
            for letter in letters:
                places = [place for place in range(start, len(text)) if text[place] == letter]
                found += [(7, places[0], letter)] if places else []
    core = text.strip()
    if core and core[0] in letters and not (len(core) > 1 and core[1].isalpha()):
        found.append((10, 0, core[0]))
    if core and core[-1] in letters and not (len(core) > 1 and core[-2].isalpha()):
        found.append((9, len(text), core[-1]))
    if not found:
        found = [(0, place, character) for place, character in enumerate(text) if character in letters]
    return sorted(found)[-1][2] if found else None


LONGVIDEOBENCH_PHRASES = [
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
]
VIDEOMME_PHRASES = [
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
]


def first_capital(response, letters, phrases):
    """Delete each phrase everywhere, in turn; then walk to the first of the letters."""
    for phrase in phrases:
        response = "".join(response.split(phrase))
    for character in response:
        if character in letters:
            return character
    return None


def before_bracket(response):
    """What stands right before the first closing bracket; the whole response where there is none."""
    response = response.strip()
    if ")" not in response:
        return response if response in list("ABCDEFGHIJKLMNOPQRSTUVWXYZ") else None
    at = response.index(")")
    character = response[at - 1] if at else ""
    return character if character and character in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" else None


def polished(response):
    """Up to the first closing bracket, from the first opening one on (to the second), first character."""
    kept = ""
    for character in response.strip():
        if character == ")":
            break
        kept += character
    kept = kept.strip()
    if "(" in kept:
        inner = ""
        for character in kept[kept.index("(") + 1 :]:
            if character == "(":
                break
            inner += character
        kept = inner.strip()
    return kept[0] if kept and kept[0] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" else None
