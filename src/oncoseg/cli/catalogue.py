"""What there is: `oncoseg list` and `oncoseg show`, from the sources alone, importing no part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oncoseg import registry
from oncoseg.cli.words import Words, add_command, answer
from oncoseg.errors import printable, unknown
from oncoseg.protocol import names as protocols
from oncoseg.protocol import read_protocol
from oncoseg.recipe import names as recipes
from oncoseg.recipe import read_recipe, stages_of

LEARNING = ("networks", "methods", "augmentations", "losses", "strategies", "recipes")
MODELS = registry.HERE / "models"
LISTED = ("models", "recipes", "protocols", *registry.SLOTS)
FILES: Mapping[str, tuple[Callable[[], list[str]], Callable[[str], Any]]] = {
    "recipes": (recipes, read_recipe),
    "protocols": (protocols, read_protocol),
}


def add(commands: Any) -> None:
    """Add `list` and `show`."""
    parser = add_command(
        commands,
        "list",
        "list what can be named: parts by slot, and the models that come with oncoseg",
        show_list,
        examples="  oncoseg list\n  oncoseg list metrics\n  oncoseg list losses --json",
    )
    parser.add_argument("slot", nargs="?", default="", help=", ".join(LISTED))
    parser = add_command(
        commands,
        "show",
        "show the paper, options and needs of one part, or the card of a model",
        show_part,
        examples="  oncoseg show dice\n  oncoseg show losses/dice_ce --json\n"
        "  oncoseg show model.onco",
    )
    parser.add_argument("name", help="name of a part, or slot/name, or a model")


def models() -> list[str]:
    """Names of the model files that come with the package."""
    return sorted(path.stem for path in MODELS.glob("*.onco"))


def show_list(words: Words) -> int:
    """`oncoseg list [slot]`."""
    slot = words.slot
    if slot and slot not in LISTED:
        raise unknown("slot", slot, LISTED)
    slots = [name for name in registry.SLOTS if slot in ("", name)]
    found = {name: registry.entries(name) for name in slots}
    for kind, (names, read) in FILES.items():
        if slot in ("", kind):
            found[kind] = [read(name).entry for name in names()]
    shipped = models() if slot in ("", "models") else []
    data: dict[str, Any] = {"models": shipped} if slot in ("", "models") else {}
    data.update({name: [describe(entry) for entry in some] for name, some in found.items()})
    answer(words, data, table(found, shipped))
    return 0


def table(found: dict[str, list[registry.Entry]], shipped: list[str]) -> str:
    """Slots with the name and idea of each part, aligned."""
    blocks = [f"models\n  {'  '.join(shipped)}"] if shipped else []
    everyone = [entry for some in found.values() for entry in some]
    width = max((len(entry.name) for entry in everyone), default=0)
    for slot, some in found.items():
        if some:
            rows = [f"  {entry.name:<{width}}  {entry.summary}" for entry in some]
            blocks.append("\n".join([slot, *rows]))
    return "\n\n".join(blocks) or "there is nothing in this slot yet"


def source(card: registry.Card, *, link: bool = False) -> str:
    """Title, year and where to read it."""
    places = [
        ("arXiv:", "https://arxiv.org/abs/", card.arxiv),
        ("doi:", "https://doi.org/", card.doi),
    ]
    where = [
        f"[{word}{key}]({base}{key})" if link else word + key for word, base, key in places if key
    ]
    if card.url:
        where.append(f"<{card.url}>" if link else card.url)
    return ", ".join([card.title, str(card.year), *where])


def find(name: str) -> list[registry.Entry]:
    """Every part of that name, or the one that `slot/name` names."""
    slot, slash, rest = name.partition("/")
    if slash:
        return [FILES[slot][1](rest).entry if slot in FILES else registry.entry(slot, rest)]
    homes = {slot: registry.names(slot) for slot in registry.SLOTS}
    found = [registry.entry(slot, name) for slot, there in homes.items() if name in there]
    found += [read(name).entry for names, read in FILES.values() if name in names()]
    if not found:
        parts = (each for some in homes.values() for each in some)
        raise unknown("part", name, {*recipes(), *protocols(), *parts})
    return found


def describe(entry: registry.Entry) -> dict[str, Any]:
    """What is known of a part, as plain data."""
    card = entry.card
    return {
        "slot": entry.slot,
        "name": entry.name,
        "summary": entry.summary,
        "card": {key: value for key, value in vars(card).items() if value},
        "options": [
            {"name": option.name, "type": option.type, "required": option.required}
            | ({} if option.required else {"default": option.default})
            for option in entry.options
        ],
        "install": "oncoseg[train]" if entry.slot in LEARNING else "oncoseg",
        "needs": list(entry.needs),
        "gives": list(entry.gives),
    }


def show_part(words: Words) -> int:
    """`oncoseg show NAME`."""
    if words.name in models() or words.name.endswith(".onco"):
        return show_model(words)
    found = find(words.name)
    data = [describe(entry) for entry in found]
    answer(words, {"parts": data}, "\n\n".join(page(entry) for entry in found))
    return 0


def show_model(words: Words) -> int:
    """`oncoseg show MODEL`: its card, and what it was found to reach from which modalities."""
    from oncoseg.model import open_model, redrawn

    model = open_model(words.name)
    card, task = model.card, model.task
    regions = ", ".join(
        name if members == (name,) else f"{name} ({' + '.join(members)})"
        for name, members in task.regions.items()
    )
    lines = [f"{card.get('name', model.path.stem)} (model)", f"  segments {regions}"]
    lines.append(f"  from     {', '.join(task.modalities)}, or some of them")
    told = ("trained_on", "crossvalidated", "licence", "intended", "not_for", "limits", "citation")
    lines += [f"  {key.replace('_', ' ')}: {card[key]}" for key in told if card.get(key)]
    if model.posthoc:
        lines.append(f"  then     {', '.join(model.posthoc)}")
    lines += dice_table(card, list(task.regions))
    if before := redrawn(model.posthoc):
        lines.append(f"  before {before}, which changes labels")
    answer(words, {"model": card}, "\n".join(printable(line) for line in lines))
    return 0


def dice_table(card: Mapping[str, Any], regions: list[str]) -> list[str]:
    """Rows of Dice a region in validation, by the modalities that there were."""
    from oncoseg.model import held_out

    figures, cases = dict(card.get("dice_by_modalities", {})), card.get("cases_by_modalities", {})
    dice, held = held_out(card)
    if not figures and dice:
        figures, cases = {"all": dice}, {"all": held}
    if not figures:
        return []
    width, wide = max(map(len, figures)), max(map(len, [*regions, "0.000"]))
    lines = [f"  {'Dice in validation':<{width}}  " + "  ".join(f"{n:>{wide}}" for n in regions)]
    width = max(width, len("Dice in validation"))
    for some, row in figures.items():
        values = [row.get(name) for name in regions]
        cells = [f"{one:.3f}" if isinstance(one, (int, float)) else "-" for one in values]
        count = cases.get(some, 0)
        told = f"  {count} case{'s' * (count != 1)}" if count else ""
        lines.append(f"  {some:<{width}}  " + "  ".join(f"{c:>{wide}}" for c in cells) + told)
    return ["", *lines]


def page(entry: registry.Entry) -> str:
    """A part on a few lines."""
    known = describe(entry)
    lines = [
        f"{entry.name} ({registry.SLOTS.get(entry.slot, entry.slot[:-1])})",
        f"  {entry.summary}",
        f"  source   {source(entry.card)}",
        f"  install  pip install '{known['install']}'",
    ]
    lines += [f"  {word:<8} {', '.join(known[word])}" for word in ("needs", "gives") if known[word]]
    if entry.card.reading:
        lines.append(f"  reading  {entry.card.reading}")
    for option in entry.options:
        default = "required" if option.required else f"default {option.default!r}"
        lines.append(f"  option   {option.name}: {option.type}, {default}")
    if entry.slot == "recipes":
        return "\n".join(
            [*lines, *(f"  stage    {stage}" for stage in stages_of(read_recipe(entry.name)))]
        )
    if entry.slot == "protocols":
        said = read_protocol(entry.name)
        lines += [f"  measures {', '.join(said.metrics)}", f"  ranks    {said.scheme}, {said.test}"]
        return "\n".join(lines)
    chosen = {option.name: option.default for option in entry.options if not option.required}
    lines.append(f"  spelt    {registry.spell(entry.name, chosen)}")
    return "\n".join(lines)
