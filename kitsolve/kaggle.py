"""The joint to Kaggle, and the only module that calls the official client.

The client prints to stdout, waits for ever, leaves with exit(1), reports success for what failed, and hides Kaggle's
reason inside the response: here all of that becomes values and KitsolveErrors.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

from kitsolve.errors import KitsolveError
from kitsolve.remote import (
    Account,
    Allowance,
    KernelRun,
    Pushed,
    Quota,
    Submission,
    Terms,
    read_log,
    read_pushed,
    read_quota,
    read_submission,
    read_terms,
)
from kitsolve.transport import SETTINGS_PAGE, RefusedError, Subject, WrongSizeError, call, tamed, translate, unreachable
from kitsolve.workspace import write_whole


class Kaggle:
    """Kaggle as one user sees it; every method asks the service anew, and raises KitsolveErrors that say what to do.

    Datasets and kernels (notebooks) are named OWNER/SLUG. A method that must not act twice takes `find`: see `call`.
    """

    def __init__(self, api: Any) -> None:  # noqa: ANN401  (the client has no types)
        self.api = api
        # The client repeats some calls blindly, also those whose answer was lost after they had been carried out.
        self.api.with_retry = lambda method: method

    @property
    def account(self) -> Account:
        """The user and the kind of credential."""
        values = self.api.config_values
        return Account(values.get("username", ""), _credential(values["auth_method"]))

    def verify(self) -> None:
        """Ask something harmless: the client checks tokens when it connects, but no legacy key."""
        call(self.api.competitions_list, self._competition("the list of competitions"))

    def competition_bytes(self, slug: str) -> int:
        """The size of all files of a competition."""
        list_page = partial(self.api.competition_list_files, slug, page_size=200)
        return sum(file.total_bytes for file in _all_files(list_page, self._competition(slug)))

    def download(self, slug: str, folder: Path) -> Path:
        """All files of a competition as one archive below `folder`; goes on where an earlier call was cut.

        Returns:
            The archive; its size is right, its content is yet to be verified.
        """
        folder.mkdir(parents=True, exist_ok=True)
        fetch = partial(self.api.competition_download_files, slug, path=str(folder), quiet=_quiet())
        try:
            call(fetch, self._competition(slug))
        except WrongSizeError:
            # An error page of the storage may lie among the bytes: nothing of them can be trusted.
            discard_download(folder)
            try:
                call(fetch, self._competition(slug))
            except WrongSizeError as error:
                raise KitsolveError(
                    f"two downloads of {slug} had not the size that Kaggle named.", hint="try again later."
                ) from error
        return next(path for path in folder.iterdir() if path.suffix != ".kaggle-partial")

    def terms(self, slug: str) -> Terms:
        """Deadline and conditions of a competition."""
        return read_terms(
            call(self._bare("competitions", "get_competition", competition_name=slug), self._competition(slug))
        )

    def pages(self, slug: str) -> dict[str, str]:
        """The competition's own pages: name (description, evaluation, rules, …) -> text."""
        found = call(partial(self.api.competition_list_pages, slug), self._competition(slug))
        return {page.name: page.content for page in found or []}

    def allowance(self, slug: str) -> Allowance:
        """How often this team may still submit today."""
        limits = call(partial(self.api.competition_get_submission_limits, slug), self._competition(slug))
        return Allowance(limits.num_allowed_now, limits.num_today, bool(limits.limited_by_total))

    def submissions(self, slug: str) -> list[Submission]:
        """The team's submissions, at most the 100 newest, the newest first."""
        found = call(partial(self.api.competition_submissions, slug, page_size=100), self._competition(slug))
        return [read_submission(entry) for entry in found or []]

    def submit_file(self, slug: str, path: Path, message: str, *, find: Callable[[], int | None]) -> int:
        """Upload a file and submit it, which spends a slot; gives the submission's number."""

        def send() -> int:
            answer = self.api.competition_submit(str(path), message, slug, quiet=_quiet())
            if not answer.ref:  # an upload that failed is answered like one that did not
                raise ValueError(f"Upload unsuccessful: {path.name}")
            return int(answer.ref)

        return call(send, self._competition(slug), find=find)

    def submit_kernel(self, slug: str, pushed: Pushed, message: str, *, find: Callable[[], int | None]) -> int:
        """Submit the submission.csv of a notebook's version, which spends a slot; gives the submission's number."""

        def send() -> int:
            answer = self.api.competition_submit_code(
                "submission.csv", message, slug, pushed.kernel, pushed.version, quiet=True
            )
            if not answer.ref:
                raise KitsolveError(
                    f"Kaggle refuses: {answer.message}", f"compare with {self._competition(slug).page}."
                )
            return int(answer.ref)

        return call(send, self._competition(slug), find=find)

    def dataset_version(self, dataset: str) -> int:
        """The newest version of a dataset, 0 where there is none."""
        owner, slug = dataset.split("/")
        ask = self._bare("datasets", "get_dataset", owner_slug=owner, dataset_slug=slug)
        found = _unless_absent(ask, self._dataset(dataset))
        return int(found.current_version_number) if found else 0

    def dataset_status(self, dataset: str) -> str:
        """Gives "ready" when the newest version may be used, "failed" when it never will, else a step on the way."""
        return str(_unless_absent(partial(self.api.dataset_status, dataset), self._dataset(dataset)) or "absent")

    def dataset_files(self, dataset: str) -> dict[str, int]:
        """Name -> bytes of the newest version's files."""
        list_page = partial(self.api.dataset_list_files, dataset, page_size=200)
        return {file.name: file.total_bytes for file in _all_files(list_page, self._dataset(dataset))}

    def upload_dataset(self, folder: Path, scratch: Path, *, create: bool, find: Callable[[], bool | None]) -> None:
        """Make a private dataset, or its new version, of a flat folder with its dataset-metadata.json.

        The remote files are to be compared afterwards: a client may leave out a file whose upload failed.

        Args:
            scratch: keeps what is uploaded already, for when this is cut off.
        """
        dataset = json.loads((folder / "dataset-metadata.json").read_text(encoding="utf-8"))["id"]

        def send() -> bool:
            with _temporary_files_in(scratch):
                answer = (
                    self.api.dataset_create_new(str(folder), public=False, quiet=_quiet())
                    if create
                    else self.api.dataset_create_version(str(folder), "by kitsolve", quiet=_quiet())
                )
            if answer.error or answer.status.lower() != "ok":
                reason = answer.error or f"status {answer.status!r}"
                raise KitsolveError(f"Kaggle refuses dataset {dataset}: {reason}", self._dataset(dataset).access)
            return True

        call(send, self._dataset(dataset), find=find)

    def kernel_version(self, kernel: str) -> int:
        """The newest version of a notebook, 0 where there is none."""
        owner, slug = kernel.split("/")
        ask = self._bare("kernels", "get_kernel", user_name=owner, kernel_slug=slug)
        found = _unless_absent(ask, self._kernel(kernel))
        return int(found.metadata.current_version_number) if found else 0

    def push_kernel(self, folder: Path, *, find: Callable[[], Pushed | None]) -> Pushed | None:
        """Save the notebook of a folder with its kernel-metadata.json as a new version, which Kaggle then runs.

        Returns:
            None while all of the user's GPU sessions are taken.
        """
        kernel = json.loads((folder / "kernel-metadata.json").read_text(encoding="utf-8"))["id"]

        def send() -> Pushed | None:
            answer = self.api.kernels_push(str(folder))
            if "session count" in answer.error:
                return None
            if answer.error or not answer.version_number:
                reason = answer.error or "no version number"
                raise KitsolveError(f"Kaggle refuses notebook {kernel}: {reason}", self._kernel(kernel).access)
            return read_pushed(answer, kernel)

        return call(send, self._kernel(kernel), find=find)

    def kernel_run(self, pushed: Pushed) -> KernelRun:
        """How the run of a notebook's version stands; "queued" also while Kaggle does not know it yet."""
        ask = self._bare("kernels", "get_kernel_session_status", **_version_fields(pushed))
        found = _unless_absent(ask, self._kernel(pushed.kernel), statuses=(404,))
        return KernelRun(found.status.name.lower(), found.failure_message or "") if found else KernelRun("queued", "")

    def kernel_log(self, pushed: Pushed) -> str:
        """What a notebook's version printed, or its error; empty while there is nothing."""
        return read_log(self._output_page(pushed).log or "")

    def kernel_file(self, pushed: Pushed, name: str, target: Path) -> None:
        """Download a file that a notebook's version wrote.

        Raises:
            KitsolveError: it wrote no such file.
        """
        import requests

        list_page = partial(self._output_page, pushed)
        urls = {file.file_name: file.url for file in _all_files(list_page, self._kernel(pushed.kernel))}
        if name not in urls:
            raise KitsolveError(
                f"version {pushed.version} of notebook {pushed.kernel} wrote no {name}.",
                hint=f"see its log and output at {self._kernel(pushed.kernel).page}.",
            )

        def fetch() -> bytes:
            answer = requests.get(urls[name])
            answer.raise_for_status()
            return bytes(answer.content)

        content = call(fetch, self._kernel(pushed.kernel))
        write_whole(target, lambda file: file.write(content))

    def quota(self) -> Quota | None:
        """This week's GPU hours; None where Kaggle names none."""
        return read_quota(call(self.api.quota_view, self._competition("the GPU quota")))

    def _output_page(self, pushed: Pushed, page_token: str = "") -> Any:  # noqa: ANN401
        fields = _version_fields(pushed) | {"page_size": 100, "page_token": page_token}
        return call(self._bare("kernels", "list_kernel_session_output", **fields), self._kernel(pushed.kernel))

    def _bare(self, area: str, name: str, **fields: object) -> Callable[[], Any]:
        """A call of the service for which the client has no function, or one that drops the version."""
        service = {"competitions": "competition", "datasets": "dataset", "kernels": "kernels"}[area]
        types = importlib.import_module(f"kagglesdk.{area}.types.{service}_api_service")
        request = getattr(types, f"Api{name.title().replace('_', '')}Request")()
        for field, value in fields.items():
            setattr(request, field, value)

        def ask() -> Any:  # noqa: ANN401
            with self.api.build_kaggle_client() as client:
                return getattr(getattr(getattr(client, area), f"{service}_api_client"), name)(request)

        return ask

    def _competition(self, slug: str) -> Subject:
        page = f"https://www.kaggle.com/c/{slug}"
        access = f"check the spelling of the name; join the competition and accept its rules at {page}/rules."
        return Subject(slug, page, access, self.account.credential)

    def _dataset(self, dataset: str) -> Subject:
        page = f"https://www.kaggle.com/datasets/{dataset}"
        return Subject(f"dataset {dataset}", page, f"see whether it is yours at {page}.", self.account.credential)

    def _kernel(self, kernel: str) -> Subject:
        page = f"https://www.kaggle.com/code/{kernel}"
        return Subject(f"notebook {kernel}", page, f"see whether it is yours at {page}.", self.account.credential)


def connect() -> Kaggle:
    """The client with the user's credentials.

    Raises:
        KitsolveError: there are none, or Kaggle refuses them.
    """
    # Importing the client already asks Kaggle, and prints the login help where it finds no credential.
    with tamed(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            from kaggle.api.kaggle_api_extended import KaggleApi
        except ImportError as error:
            raise KitsolveError(f"the kaggle package cannot be used: {error}.", "pip install kaggle six.") from error
        from requests.exceptions import HTTPError, RequestException

        api = KaggleApi()
        try:
            api.authenticate()
        except SystemExit:
            raise _no_credentials() from None
        except HTTPError as error:
            subject = Subject("your credential", SETTINGS_PAGE, f"make a new one at {SETTINGS_PAGE}.")
            raise translate(error.response, subject) from None
        except RequestException as error:
            raise unreachable(error) from None
    hidden = hidden_credential(api)
    if hidden:
        raise KitsolveError(
            f"the access token in {hidden} is not valid any more, and hides the good key of kaggle.json.",
            hint=f"remove {hidden}, or put a new token from {SETTINGS_PAGE} there.",
        )
    return Kaggle(api)


def hidden_credential(api: Any) -> str | None:  # noqa: ANN401
    """The place of an access token that the client found invalid but still sends, so that the legacy key is hidden."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    _, source = get_access_token_from_env()
    if source is None or api.config_values["auth_method"] == "ACCESS_TOKEN":
        return None
    return "~/.kaggle/access_token" if source == "access_token" else str(source)


def discard_download(folder: Path) -> None:
    """Remove an archive and the client's note of what it holds, so that the next download starts anew."""
    for path in folder.iterdir():
        path.unlink()


def _quiet() -> bool:
    """Whether the client shall draw no bars."""
    return not sys.stderr.isatty()


def _all_files(list_page: Callable[..., Any], subject: Subject) -> Iterator[Any]:
    """The files of all pages of a listing."""
    token = ""
    while True:
        page = call(partial(list_page, page_token=token), subject)
        yield from page.files
        token = page.next_page_token
        if not token:
            return


def _unless_absent(ask: Callable[[], Any], subject: Subject, statuses: tuple[int, ...] = (403, 404)) -> Any:  # noqa: ANN401
    """The answer, or None where Kaggle knows nothing of that name: for one that nobody has taken it says 403."""
    try:
        return call(ask, subject)
    except RefusedError as error:
        if error.status not in statuses:
            raise
        return None


def _version_fields(pushed: Pushed) -> dict[str, Any]:
    owner, slug = pushed.kernel.split("/")
    return {"user_name": owner, "kernel_slug": slug, "version_label": f"v{pushed.version}"}


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """The client keeps the state of uploads in the shared /tmp, where another user's folder of that name stops it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _no_credentials() -> KitsolveError:
    return KitsolveError(
        "there are no Kaggle credentials on this machine.",
        f"make a token at {SETTINGS_PAGE} (API, Generate New Token),\n"
        "       write it into ~/.kaggle/access_token or export KAGGLE_API_TOKEN=…,\n"
        "       then run `kitsolve doctor`; or take files from this disk: `kitsolve fetch SLUG --from DIR_OR_ZIP`.",
    )


def _credential(method: str) -> str:
    return {"ACCESS_TOKEN": "access token", "LEGACY_API_KEY": "key of kaggle.json", "OAUTH": "login"}.get(
        method, "credential"
    )
