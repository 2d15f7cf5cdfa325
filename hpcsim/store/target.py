"""Which records a `target_error` needs: of each point those up to the first look that finds them enough.

A look is taken when all records before it are done, whoever computed them and whenever: the records that are
needed depend on nothing else, neither on the number of ranks nor on kills.
"""

import numpy as np

from hpcsim.ensemble.stopping import FIRST_LOOK, deciding, needed, next_look
from hpcsim.observables import largest_error, reduced
from hpcsim.store.layout import Layout


class Targets:
    """The looks at all points of a run; without `target_error` every record is needed.

    watched : names of the stored outputs that decide
    skipped : (records,) bool, records that are not needed, as far as is known
    missed  : {point: {output: standard error}} of the points that all their records did not bring below the target
    open    : {point: (its records in order, how many of them the next look is at)}, of those that may need more
    """

    def __init__(self, layout: Layout):
        self._targets = layout.config["method"].get("target_error") or {}
        outputs = {output.name: output for output in layout.outputs}
        self._outputs = {name: outputs[name] for name in self._targets}
        self.watched = sorted({name for output in self._outputs.values() for name in output.sources or (output.name,)})
        self.skipped, self.missed = np.zeros(len(layout.point), bool), {}
        self._wanted = np.full(len(layout.point), not self._targets)
        records = {int(p): np.flatnonzero(layout.point == p) for p in np.unique(layout.point) if self._targets}
        self.open = {p: (own, min(FIRST_LOOK, len(own))) for p, own in records.items()}

    def todo(self, done, values: dict) -> np.ndarray:
        """Numbers of the records to compute before the next look; empty when there is nothing left to do.

        done   : (records,) bool, those that have failed among them
        values : {record: {output: array}} of the watched outputs of the records that are done; those of a point that
                 has come to its end are removed
        """
        for p, (records, look) in list(self.open.items()):
            while done[records[:look]].all():
                further, above = self.look(p, look, {r: values[r] for r in self.seen(p, look) if r in values})
                if not further:
                    self.close(p, look, above)
                    for record in records:
                        values.pop(record, None)
                    break
                look = further
            else:
                self.open[p] = records, look
            self._wanted[records[:look]] = True
        return np.flatnonzero(self._wanted & ~done)

    def seen(self, point: int, look: int) -> list[int]:
        """The records that a look at the first `look` of an open point reads."""
        records = self.open[point][0]
        return records[: look if look == len(records) else deciding(look)].tolist()

    def look(self, point: int, look: int, values: dict) -> tuple[int, dict]:
        """How many records the next look is at, 0: no more are needed; and {output: error} above the target at the end.

        values : {record: {output: array}} of those `seen` that are done
        """
        last = len(self.open[point][0])
        enough = self._needed([values[r] for r in self.seen(point, look)[: deciding(look)] if r in values])
        if look < last and look < enough:
            return next_look(look, enough, last), {}
        return 0, self._above(list(values.values())) if look == last else {}

    def close(self, point: int, look: int, above: dict):
        """The first `look` records of a point are enough, or all that there are."""
        records, _ = self.open.pop(point)
        self.skipped[records[look:]] = True
        if above:
            self.missed[point] = above

    def _needed(self, records) -> float:
        """How many records bring all errors below their targets, as far as these tell."""
        if len(records) < 2:  # the others have failed
            return np.inf
        errors = self._errors(records)
        return max(needed(errors[name] / target, len(records)) for name, target in self._targets.items())

    def _above(self, records) -> dict[str, float]:
        """The errors that are above their targets."""
        return {name: error for name, error in self._errors(records).items() if error > self._targets[name]}

    def _errors(self, records) -> dict[str, float]:
        if len(records) < 2:  # the others have failed
            return dict.fromkeys(self._outputs, np.inf)

        def rows(name):
            return np.stack([record[name] for record in records])

        return {name: largest_error(output, *reduced(output, rows)) for name, output in self._outputs.items()}
