"""What a month costs, roughly, in US dollars: rounded list prices of Western Europe, without taxes or discounts.

An estimate to choose a size by, not a bill: the prices are typed in, not asked for, and may be 15 % off.
`python -m blueprint.cost` prints the table of docs/cloud.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from blueprint.spec import SIZES, CloudName, Role, Size

HOURS = 730
TRAINING_HOURS = 40  # one machine, on the spot market
DISKS_GB = 200  # volumes of the databases, of metrics
BUCKET_GB = 500
IMAGES_GB = 50
EGRESS_GB = 100


@dataclass(frozen=True)
class Prices:
    """Of one cloud, for the machines that its pools have by default."""

    control_plane: Mapping[Size, float]
    machine_hour: Mapping[Role, float]
    spot_part: float
    surcharge: float
    disk_gb: float
    bucket_gb: float
    images_gb: float
    images_fixed: Mapping[Size, float]
    nat_hour: float
    nats: Mapping[Size, int]
    egress_gb: float
    load_balancer: float


PRICES: Mapping[CloudName, Prices] = {
    "gcp": Prices(
        control_plane={"small": 0.10, "large": 0.10},
        machine_hour={"system": 0.147, "serving": 0.214, "training": 0.428},
        spot_part=0.40,
        surcharge=0.0,
        disk_gb=0.187,
        bucket_gb=0.020,
        images_gb=0.10,
        images_fixed={"small": 0, "large": 0},
        nat_hour=0.01,
        nats={"small": 1, "large": 1},
        egress_gb=0.045,
        load_balancer=20,
    ),
    "aws": Prices(
        control_plane={"small": 0.10, "large": 0.10},
        machine_hour={"system": 0.242, "serving": 0.242, "training": 0.483},
        spot_part=0.40,
        surcharge=0.12,  # Auto Mode
        disk_gb=0.095,
        bucket_gb=0.0245,
        images_gb=0.10,
        images_fixed={"small": 0, "large": 0},
        nat_hour=0.052,
        nats={"small": 1, "large": 3},
        egress_gb=0.052,
        load_balancer=22,
    ),
    "azure": Prices(
        control_plane={"small": 0.0, "large": 0.10},
        machine_hour={"system": 0.230, "serving": 0.230, "training": 0.460},
        spot_part=0.30,
        surcharge=0.0,
        disk_gb=0.17,
        bucket_gb=0.024,
        images_gb=0.0,
        images_fixed={"small": 20, "large": 50},
        nat_hour=0.045,
        nats={"small": 1, "large": 1},
        egress_gb=0.045,
        load_balancer=20,
    ),
}


@dataclass(frozen=True)
class Estimate:
    """A month's cost by what causes it, in whole dollars."""

    control_plane: int
    nodes: int
    training: int
    storage: int
    network: int

    @property
    def total(self) -> int:
        return self.control_plane + self.nodes + self.training + self.storage + self.network


def estimate(cloud: CloudName, size: Size) -> Estimate:
    """Pools stand at their least; a training machine runs for forty hours; nobody uses a GPU."""
    prices = PRICES[cloud]
    dearer = 1 + prices.surcharge
    standing = sum(pool.min * prices.machine_hour[role] * HOURS for role, pool in SIZES[size].items() if pool.min)
    storage = DISKS_GB * prices.disk_gb + BUCKET_GB * prices.bucket_gb + IMAGES_GB * prices.images_gb
    network = prices.nats[size] * prices.nat_hour * HOURS + EGRESS_GB * prices.egress_gb + prices.load_balancer
    return Estimate(
        control_plane=round(prices.control_plane[size] * HOURS),
        nodes=round(standing * dearer),
        training=round(prices.machine_hour["training"] * TRAINING_HOURS * (prices.spot_part + prices.surcharge)),
        storage=round(storage + prices.images_fixed[size]),
        network=round(network),
    )


def table() -> str:
    """All clouds and sizes, in Markdown."""
    lines = [
        "| cloud | size | control plane | nodes | training | storage, images | network | a month |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cloud in PRICES:
        for size in SIZES:
            cost = estimate(cloud, size)
            parts = (cost.control_plane, cost.nodes, cost.training, cost.storage, cost.network)
            lines.append(f"| {cloud} | {size} | {' | '.join(map(str, parts))} | **{cost.total}** |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
