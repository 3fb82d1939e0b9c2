"""From any state that an endpoint can be in, the plan leads to what Git says, and on the way requests are answered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.vertex.config import Canary
from pipelines.vertex.machines import MachineSize
from pipelines.vertex.plan import (
    NEW,
    CreateEndpoint,
    Deploy,
    DeployedModel,
    Hold,
    Label,
    Observed,
    PlanStep,
    Resize,
    Shift,
    Undeploy,
    UploadVersion,
    plan,
)
from pipelines.vertex.target import VertexTarget
from tests.vertex_cases import released

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SMALL, LARGE = "e2-highcpu-2", "e2-standard-8"
ENOUGH = 12


def target(
    version: int | None = 7, *, rollback: bool = False, canary: Canary | None = None, most: int = 2
) -> VertexTarget:
    release = released(version) if version else None
    size = MachineSize(SMALL, (1, most)) if version else None
    return VertexTarget("tiny", "staging", release, "c" * 40, rollback, size, canary)


def deployed(number: int, traffic: int, *, machine: str = SMALL, most: int = 2, age: int = 3600) -> DeployedModel:
    return DeployedModel(
        str(100 + number), str(number), MachineSize(machine, (1, most)), traffic, NOW - timedelta(seconds=age)
    )


def done(step: PlanStep, seen: Observed, now: datetime) -> tuple[Observed, datetime]:  # noqa: PLR0911 - one a kind of step
    """What there is after a step, as Vertex AI would have it; asserts what it would refuse."""
    match step:
        case CreateEndpoint():
            assert not seen.exists
            return replace(seen, exists=True), now
        case UploadVersion():
            return replace(seen, version="7", model_exists=True), now
        case Hold():
            assert step.seconds > 0
            return seen, now + timedelta(seconds=step.seconds)
        case Deploy():
            assert seen.exists
            assert seen.version
            assert sum(step.traffic.values()) == 100
            number = str(900 + len(seen.deployed))
            shares = {number if name == NEW else name: share for name, share in step.traffic.items()}
            made = DeployedModel(number, seen.version, step.size, 0, now)
            return _split(replace(seen, deployed=(*seen.deployed, made)), shares), now
        case Shift():
            assert sum(step.traffic.values()) == 100
            return _split(seen, dict(step.traffic)), now
        case Resize():
            held = tuple(replace(each, size=step.size) if each.id == step.id else each for each in seen.deployed)
            return replace(seen, deployed=held), now
        case Undeploy():
            gone = next(each for each in seen.deployed if each.id == step.deployed.id)
            assert gone.traffic == 0 or len(seen.deployed) == 1, "Vertex AI undeploys nothing that has traffic"
            return replace(seen, deployed=tuple(each for each in seen.deployed if each is not gone)), now
        case Label():
            return replace(seen, labels=step.labels), now
    raise AssertionError(step)


def _split(seen: Observed, shares: dict[str, int]) -> Observed:
    assert set(shares) <= {each.id for each in seen.deployed}
    return replace(seen, deployed=tuple(replace(each, traffic=shares.get(each.id, 0)) for each in seen.deployed))


@st.composite
def states(draw) -> Observed:
    """Anything that a killed run, a person with the console, or both could have left."""
    version = draw(st.sampled_from([None, "7"]))
    count = draw(st.integers(0, 4))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=max(0, count - 1), max_size=max(0, count - 1))))
    shares = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)] if count else []
    numbers = draw(st.lists(st.integers(4, 7 if version else 6), min_size=count, max_size=count))
    held = tuple(
        replace(
            deployed(
                number,
                share,
                machine=draw(st.sampled_from([SMALL, LARGE])),
                most=draw(st.sampled_from([2, 8])),
                age=draw(st.sampled_from([0, 60, 3600])),
            ),
            id=str(200 + place),
        )
        for place, (number, share) in enumerate(zip(numbers, shares, strict=True))
    )
    exists = bool(held) or draw(st.booleans())
    return Observed(exists, version is not None, version, held, draw(st.sampled_from([{}, {"bento": "tiny_6"}])))


@settings(max_examples=400, deadline=None)
@given(
    seen=states(),
    rollback=st.booleans(),
    canary=st.sampled_from([None, Canary(), Canary(percent=50)]),
    withdrawn=st.booleans(),
)
def test_every_state_leads_to_what_git_says_and_something_always_answers(seen, rollback, canary, withdrawn):
    wanted = target(None if withdrawn else 7, rollback=rollback, canary=canary)
    now, steps = NOW, 0
    served = any(each.traffic for each in seen.deployed)
    while todo := plan(wanted, seen, now):
        steps += 1
        assert steps <= ENOUGH, [str(step) for step in todo]
        seen, now = done(todo[0], seen, now)
        if served and not withdrawn:
            assert sum(each.traffic for each in seen.deployed) == 100, str(todo[0])
    if withdrawn:
        assert seen.deployed == ()
        return
    (alone,) = seen.deployed
    assert (alone.version, alone.traffic, alone.size) == ("7", 100, wanted.size)
    assert dict(seen.labels) == wanted.labels


@settings(max_examples=200, deadline=None)
@given(seen=states(), canary=st.sampled_from([Canary(), Canary(percent=50)]))
def test_a_new_version_beside_an_old_one_never_gets_all_traffic_before_it_was_held(seen, canary):
    wanted, now, since = target(canary=canary), NOW, None
    fresh = seen.deployed and all(each.version != "7" for each in seen.deployed)
    while todo := plan(wanted, seen, now):
        seen, now = done(todo[0], seen, now)
        if isinstance(todo[0], Deploy):
            since = now
        if fresh and since and any(each.version == "7" and each.traffic == 100 for each in seen.deployed):
            assert now - since >= canary.hold


@settings(max_examples=200, deadline=None)
@given(seen=states(), canary=st.sampled_from([None, Canary()]))
def test_a_rollback_holds_nothing(seen, canary):
    wanted, now = target(rollback=True, canary=canary), NOW
    while todo := plan(wanted, seen, now):
        assert not isinstance(todo[0], Hold)
        seen, now = done(todo[0], seen, now)


def test_the_plan_that_is_shown_is_what_is_done():
    """The first steps of the plans that follow one another are the first plan."""
    seen, now = Observed(True, True, None, (deployed(6, 100),), {}), NOW
    wanted = target(canary=Canary())
    shown = [type(step) for step in plan(wanted, seen, now)]
    did = []
    while todo := plan(wanted, seen, now):
        did.append(type(todo[0]))
        seen, now = done(todo[0], seen, now)
    assert did == shown == [UploadVersion, Deploy, Hold, Shift, Undeploy, Label]
