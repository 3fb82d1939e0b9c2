"""What environment variables are declared with: one style of error, secrets also from files, one list of them all.

Each group is a class near its use, and its fields are made by `variable`:

    class KubeflowVariables(Variables):
        url: str = variable("MLOPS_KUBEFLOW_URL", "", "Kubeflow Pipelines' API server.")
        token: SecretStr | None = variable("MLOPS_KUBEFLOW_TOKEN", None, "A bearer token for it.")

`load()` reads them; constructed by hand, a class has its defaults and reads nothing. docs/settings.md is made from
these classes by `pipelines.cli.variables`, which lists them. The model server has a smaller base with the same rules
(bento.variables): a Bento brings its own code, which must start on serving bases without pydantic-settings, too.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from bento.variables import PAGE, detail, names_of, problems, remember_secrets, secret_in_file, variable
from bento.variables import VariableWrong as FileWrong
from pipelines.errors import MlopsError

__all__ = ["VariableWrong", "Variables", "variable"]

_environment: ContextVar[Mapping[str, str]] = ContextVar("environment")


class VariableWrong(MlopsError):
    """An environment variable has a value that it cannot have."""


class Variables(BaseSettings):
    """The variables of one part of the program."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, case_sensitive=True, extra="ignore", hide_input_in_errors=True
    )
    title: ClassVar[str]  # of their section in docs/settings.md; the class's docstring is its text

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read them from this process's environment, or from a mapping.

        Raises:
            VariableWrong: names every variable whose value cannot be, and what would be right.
        """
        token = _environment.set(os.environ if environ is None else environ)
        try:
            loaded = cls()
            remember_secrets(loaded)
            return loaded  # noqa: TRY300
        except ValidationError as error:
            told = list(problems(cls.model_fields, error))
        except FileWrong as error:
            told = [str(error)]
        finally:
            _environment.reset(token)
        names = ", ".join(line.partition(":")[0] for line in told)
        raise VariableWrong("\n".join(told), hint=f"{PAGE} says what {names} takes")

    @classmethod
    def strangers(cls, environ: Mapping[str, str]) -> set[str]:
        """The MLOPS_ variables that are none of these."""
        known = {name for field in cls.model_fields.values() for name in names_of(field)}
        return {name for name in environ if name.startswith("MLOPS_")} - known

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment that `load` was given, and the files that it names; no .env file, nothing else."""
        env = _environment.get({})
        return init_settings, _Values(settings_cls, env), _SecretFiles(settings_cls, env)


class _Values(EnvSettingsSource):
    """The variables themselves. An empty one counts as not set, unless its field says otherwise."""

    def __init__(self, settings_cls: type[BaseSettings], env: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        names = {name: field for field in settings_cls.model_fields.values() for name in names_of(field)}
        self.env_vars = {
            name: env[name] for name, field in names.items() if name in env and (env[name] or detail(field, "empty"))
        }


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets whose variable is not set, from the file that `<variable>_FILE` names."""

    def __init__(self, settings_cls: type[BaseSettings], env: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._env = env

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """None where the variable itself is set: then the file is not read."""
        is_set = any(self._env.get(name) for name in names_of(field))
        return (None if is_set else secret_in_file(field, self._env)), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = ((name, self.get_field_value(field, name)[0]) for name, field in self.settings_cls.model_fields.items())
        return {name: value for name, value in found if value is not None}
