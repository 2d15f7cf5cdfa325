"""Which records a `target_error` needs: of each point those up to the first look that finds its errors small enough.

A look is taken when all records before it are done, whoever computed them and whenever: the records that are
needed depend on nothing else, neither on the number of ranks nor on kills.
"""

import numpy as np

from hpcsim.ensemble.reduce import looks
from hpcsim.observables import largest_error, reduced
from hpcsim.store.layout import Layout


class Targets:
    """The looks at all points of a run; without `target_error` every record is needed.

    watched : names of the stored outputs that decide
    skipped : (records,) bool, records that are not needed, as far as is known
    missed  : {point: {output: standard error}} of the points that all their records did not bring below the target
    """

    def __init__(self, layout: Layout):
        self._targets = layout.config["method"].get("target_error") or {}
        outputs = {output.name: output for output in layout.outputs}
        self._outputs = {name: outputs[name] for name in self._targets}
        self.watched = sorted({name for output in self._outputs.values() for name in output.sources or (output.name,)})
        self.skipped, self.missed = np.zeros(len(layout.point), bool), {}
        self._wanted = np.full(len(layout.point), not self._targets)
        # of each point that may need more: its records in order, and the looks that are to come
        records = {int(p): np.flatnonzero(layout.point == p) for p in np.unique(layout.point) if self._targets}
        self._open = {p: (own, looks(len(own))) for p, own in records.items()}

    def todo(self, done, values: dict) -> np.ndarray:
        """Numbers of the records to compute before the next look; empty when there is nothing left to do.

        done   : (records,) bool, those that have failed among them
        values : {record: {output: array}} of the watched outputs of the records that are done; those of a point that
                 has come to its end are removed
        """
        for p, (records, ahead) in list(self._open.items()):
            while done[now := records[: ahead[0]]].all():
                found = self._errors([values[r] for r in now if r in values])
                above = {name: error for name, error in found.items() if error > self._targets[name]}
                if above and len(ahead) > 1:
                    del ahead[0]
                    continue
                if above:
                    self.missed[p] = above
                self.skipped[records[len(now) :]] = True
                del self._open[p]
                for record in records:
                    values.pop(record, None)
                break
            self._wanted[now] = True
        return np.flatnonzero(self._wanted & ~done)

    def _errors(self, records) -> dict[str, float]:
        if len(records) < 2:  # the others have failed
            return dict.fromkeys(self._outputs, np.inf)

        def rows(name):
            return np.stack([record[name] for record in records])

        return {name: largest_error(output, *reduced(output, rows)) for name, output in self._outputs.items()}
