"""Follow a commit until the model of this machine answers with it."""

from pipelines.console import Timeline
from pipelines.settings import Settings


def await_rollout(settings: Settings, timeline: Timeline, name: str, environment: str, commit: str) -> None:
    """Follow the commit until its model answers, when a platform of this machine serves it."""
    from pipelines.embedded.platform import status as platform_status
    from pipelines.embedded.platform import wait_for

    if environment not in settings.environments.embedded:
        timeline.console.print(
            f"  {environment} is served by a cluster; the platform of this machine serves the others"
        )
        return
    if not platform_status(settings).running:
        timeline.console.print("  the platform is down: `mlops up` starts it and serves what is released")
        return
    result = wait_for(settings, name, environment, commit, timeout=120)
    timeline.say(f"[green]✓[/] live after {result.seconds:.1f} s at {result.url}")
