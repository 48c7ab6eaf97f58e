"""What came of a race, and what follows from it."""

from dataclasses import dataclass

import flops
from geometry import GEOMETRIES, TRAINS
from races import Race
from turns import Contender


@dataclass
class Result:
    race: Race
    ours: Contender
    theirs: Contender

    @property
    def sides(self):
        """(name, precision, contender) of Fourfold and of PyTorch."""
        mode = self.race.mode
        return [("fourfold", self.race.precision, self.ours), (f"pytorch {mode}", mode.split("-")[0], self.theirs)]

    @property
    def ratio(self):
        """Above 1 Fourfold is faster; none where one of both failed."""
        failed = self.ours.failure or self.theirs.failure
        return None if failed else self.theirs.median / self.ours.median

    @property
    def memory(self):
        """Below 1 Fourfold takes less."""
        failed = self.ours.failure or self.theirs.failure
        return None if failed else self.ours.peak_mib / self.theirs.peak_mib

    def rates(self, precision, contender, peak_tflops):
        """Samples and tokens a second, and the share of the peak, which is one of 16-bit formats; {} where there are none."""
        race = self.race
        if contender.failure or race.work not in TRAINS:
            return {}
        geometry, seconds = GEOMETRIES[race.geometry], contender.median
        rows = flops.rows(geometry, race.batch)
        found = {"samples_per_second": race.batch / seconds, "tokens_per_second": sum(rows) / seconds}
        if peak_tflops and precision in ("bf16", "fp16"):
            operations = flops.step(geometry, TRAINS[race.work], rows, flops.targets(race.batch))
            found["mfu"] = operations / seconds / (peak_tflops * 1e12)
        return found

    def rows(self, peak_tflops):
        """One object a side, for step.json."""
        race, names = self.race, [name for name, _, _ in self.sides]
        for (name, precision, contender), against in zip(self.sides, reversed(names)):
            row = dict(work=race.work, contender=name, against=against, precision=precision)
            if race.work in TRAINS:
                row |= dict(geometry=race.geometry, batch=race.batch)
            if contender.failure:
                yield row | dict(failure=contender.failure)
                continue
            yield row | dict(
                seconds_min=round(min(contender.seconds), 5),
                seconds_median=round(contender.median, 5),
                peak_mib=round(contender.peak_mib, 1),
                rounds=len(contender.seconds),
                **{key: round(rate, 4) for key, rate in self.rates(precision, contender, peak_tflops).items()},
            )
