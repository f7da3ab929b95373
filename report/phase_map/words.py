"""What a plane shows, in words."""

from __future__ import annotations

from report.phase_map.planes import CLEAR, WINNERS, Cell, Plane, describe_values

MOST_NAMED = 4
"""Largest number of cells that a sentence names."""


def describe_plane(plane: Plane) -> list[str]:
    """Returns a sentence or two on each arm: whom it finds, and how the predictions held."""
    lines = []
    for arm in plane.arms:
        cells = plane.list_cells(arm)
        if cells:
            lines.append(f"{arm}: {describe_found(cells)} {describe_predictions(plane, cells)}")
    return lines


def describe_found(cells: list[Cell]) -> str:
    """Returns in how many cells which kind of head is the majority."""
    counts = {}
    for kind, plural in WINNERS.items():
        counts[plural] = sum(cell.winner == kind for cell in cells)
    rest = len(cells) - sum(counts.values())
    found = ", ".join(f"{plural} in {count}" for plural, count in counts.items())
    words = f"most heads are {found}, and anything else in {rest} of {len(cells)} cells."
    settled = sum(cell.settled * len(cell.heads) for cell in cells)
    settled /= sum(len(cell.heads) for cell in cells)
    if settled < 1:
        words += f" {settled:.0%} of the heads have settled."
    missed = sum(cell.missed for cell in cells)
    if missed:
        cells_missed = "1 cell" if missed == 1 else f"{missed} cells"
        words += f" In {cells_missed} training did not find what costs least (hatched)."
    return words


def describe_predictions(plane: Plane, cells: list[Cell]) -> str:
    """Returns how often the predicted kind is what most heads are; cells whose planted costs hardly
    differ do not count.
    """
    has_costs = any(cell.has_costs for cell in cells)
    rule = "The kind that theory predicts"
    if has_costs:
        rule = f"The cheaper planted head, where both differ by {CLEAR:g} nats an episode or more,"
    counted = [cell for cell in cells if cell.is_accountable]
    if not counted:
        return "Nothing is predicted clearly enough to be held to account."
    wrong = [cell for cell in counted if not cell.holds]
    words = f"{rule} is what most heads are in {len(counted) - len(wrong)} of {len(counted)} cells."
    if wrong:
        named = "; ".join(describe_values(plane, cell.place) for cell in wrong[:MOST_NAMED])
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        words += f" Not in: {named}{more}."
    return words


def summarise(planes: list[Plane]) -> str:
    """Returns in how many cells of all planes the prediction holds, and of which arms it fails."""
    accountable, failed = 0, []
    for plane in planes:
        for arm in plane.arms:
            counted = [cell for cell in plane.list_cells(arm) if cell.is_accountable]
            wrong = sum(not cell.holds for cell in counted)
            accountable += len(counted)
            if wrong:
                failed.append((wrong, f"{arm} in {wrong} of {len(counted)} cells of {plane.name}"))
    if not accountable:
        return "Nothing is predicted clearly enough to be held to account."
    right = accountable - sum(wrong for wrong, _ in failed)
    words = f"Most heads are what was predicted in {right} of {accountable} cells"
    if not failed:
        return f"{words}."
    return f"{words}. Not under {'; '.join(text for _, text in sorted(failed, reverse=True))}."
