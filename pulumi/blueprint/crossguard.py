"""The rules as policies of CrossGuard. They stop an update; a team that needs an exception changes the rule in Git."""

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)

from blueprint.policies import RULES, Rule, Seen

NAME = "mlops-blueprint"


def policies() -> list[Policy]:
    """One policy a rule."""
    return [_policy(rule) for rule in RULES]


def pack() -> None:
    """Serve the pack to the engine that started this process."""
    PolicyPack(NAME, policies(), enforcement_level=EnforcementLevel.MANDATORY)


def _policy(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for wrong in rule.check(Seen(args.resource_type, args.name, args.props)):
            report(wrong, args.urn)

    return ResourceValidationPolicy(rule.name, rule.purpose, validate)
