"""The calls of one run being executed: each once, several at a time, and none left behind."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import isawaitable, iscoroutine

from streamkit.context import Run
from streamkit.errors import HandlerCancelled, UsageError
from streamkit.items import JsonObject, McpApprovalRequest
from streamkit.ledger import CallStatus, ToolCall
from streamkit.outcome import Notice, ToolCalled, ToolReturned
from streamkit.tools.conversation import OpenCall, answer_to, approval_of, arguments_of, id_of
from streamkit.tools.tool import InvalidArguments, LocalTool
from streamkit.tools.toolbox import CallNotExecuted, Toolbox, ToolOptions, UnknownTool, told

logger = logging.getLogger("streamkit.tools.calling")

REFUSED = "The user did not allow this call, so it was not executed."
"""What a model is told of a call that was refused without a reason."""

_EXPECTED = (InvalidArguments, UnknownTool, CallNotExecuted)


class Calling:
    """Executes calls in tasks that belong to one run, and keeps its ledger.

    Args:
        toolbox: the tools.
        options: how calls are made.
        run: the run; its ledger may know calls from a run before.
        tell: called with notices of what happens, from the tasks.
        wake: called when there is something new to look at.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        options: ToolOptions,
        run: Run[object],
        *,
        tell: Callable[[Notice], None],
        wake: Callable[[], None],
    ) -> None:
        self._toolbox = toolbox
        self._options = options
        self._run = run
        self._tell = tell
        self._wake = wake
        self._slots = asyncio.Semaphore(options.max_parallel)
        self._tasks: dict[tuple[int, str], asyncio.Task[JsonObject]] = {}
        self._running: set[asyncio.Task[JsonObject]] = set()
        self._failure: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way, or waits for its turn."""
        return bool(self._running)

    def can_answer(self, call: OpenCall) -> bool:
        """Tell whether there will be an answer to a call; one of an unknown tool is answered with an error."""
        if isinstance(call, McpApprovalRequest):
            return self._options.approve is not None
        return not self._toolbox.is_elsewhere(call)

    def can_begin(self, call: OpenCall) -> bool:
        """Tell whether a call may be made before the response has ended."""
        return self._toolbox.runs(call) or (isinstance(call, McpApprovalRequest) and self.can_answer(call))

    def start(self, call: OpenCall) -> None:
        """Begin to answer a call of the current round, unless that was begun already."""
        key = self._key(call)
        if key not in self._tasks:
            task = asyncio.create_task(self._answer(call), name=f"streamkit.tools.tool {call.name}")
            task.add_done_callback(self._note_done)
            self._tasks[key] = task
            self._running.add(task)

    def answers(self, calls: Sequence[OpenCall]) -> list[JsonObject]:
        """Return the answers to calls of the current round, which are all done."""
        return [self._tasks[self._key(call)].result() for call in calls]

    def raise_failure(self) -> None:
        """Raise what made a call fail for good."""
        if self._failure is not None:
            raise self._failure

    def cancel(self) -> None:
        """Stop all calls; the ledger says from now on that they were cancelled."""
        for (_, call_id), task in self._tasks.items():
            task.cancel()
            self._note_cancelled(call_id)

    async def close(self) -> None:
        """Stop all calls and wait until they have stopped."""
        self.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def _key(self, call: OpenCall) -> tuple[int, str]:
        return self._run.round, id_of(call) or ""

    def _note_done(self, task: asyncio.Task[JsonObject]) -> None:
        self._running.discard(task)
        # Each is looked at, for asyncio complains of those that are not; the first one is raised.
        failure = None if task.cancelled() else task.exception()
        if self._failure is None:
            self._failure = failure
        self._wake()

    async def _answer(self, item: OpenCall) -> JsonObject:
        call = ToolCall(
            call_id=id_of(item) or "",
            name=item.name or "",
            arguments=arguments_of(item),
            round=self._run.round,
            server_label=item.server_label if isinstance(item, McpApprovalRequest) else None,
        )
        if isinstance(item, McpApprovalRequest):
            return approval_of(item, await self._refusal(call))
        return answer_to(item, await self._output(call))

    async def _output(self, call: ToolCall) -> str:
        """Return what the model is told of a call, once it was made, or for a reason was not."""
        known = self._run.ledger.get(call.call_id)
        if known is not None:
            return self._output_of(known, call)
        try:
            tool = self._toolbox.get(call.name)
        except UnknownTool as error:
            return self._failed(call, error)
        refusal = await self._refusal(call)
        if refusal is not None:
            return self._ended(call, "refused", refusal)
        async with self._slots:
            return await self._execute(tool, call)

    def _output_of(self, known: ToolCall, call: ToolCall) -> str:
        """Return what is known of a call that was begun before: it is never begun again."""
        if (known.name, known.arguments) != (call.name, call.arguments):
            error = CallNotExecuted(f"the call was not executed: its id {call.call_id!r} belongs to an earlier call")
            return self._told(call, error)
        if known.output is None:
            error = CallNotExecuted("the call was interrupted and may have been executed; its result is unknown")
            return self._failed(known, error)
        return known.output

    async def _refusal(self, call: ToolCall) -> str | None:
        """Return why a call may not be made; ``None`` where it may."""
        approve = self._options.approve
        if approve is None:
            return None
        deciding: object = approve(call)
        if not isawaitable(deciding):
            raise UsageError(f"approve must be an async function; it returned {deciding!r} at once")
        verdict = await deciding
        if isinstance(verdict, str):
            return verdict
        return None if verdict else REFUSED

    async def _execute(self, tool: LocalTool[..., object], call: ToolCall) -> str:
        call = replace(call, started=time.time())
        self._run.ledger.write(call)
        self._report(ToolCalled(call=call))
        try:
            output = tool.render(await tool.call(call.arguments, self._run))
        except asyncio.CancelledError as error:
            if _is_cancelled():
                self._note_cancelled(call.call_id)
                raise
            cancelled = HandlerCancelled(f"of the tool {call.name}")
            cancelled.__cause__ = error
            return self._failed(call, cancelled)
        except Exception as error:  # noqa: BLE001 - the policy says what comes of it
            return self._failed(call, error)
        return self._ended(call, "succeeded", output)

    def _failed(self, call: ToolCall, error: Exception) -> str:
        """Return what the model is told of an error; raise it, or another, where that is the policy."""
        status: CallStatus = "cancelled" if isinstance(error, CallNotExecuted) else "failed"
        call = self._write_end(replace(call, status=status, error=type(error).__name__))
        return self._ended(call, status, self._told(call, error))

    def _told(self, call: ToolCall, error: Exception) -> str:
        policy = self._options.on_error
        if policy == "raise":
            raise error
        if not isinstance(error, _EXPECTED):
            logger.warning("tool %s failed, and the model is told of it", call.name, exc_info=error)
        return told(error) if policy == "tell" else _text_of(policy(call, error))

    def _ended(self, call: ToolCall, status: CallStatus, output: str) -> str:
        # Half a surrogate pair, as in the names of some files, cannot be sent.
        output = output.encode(errors="replace").decode()
        self._report(ToolReturned(call=self._write_end(replace(call, status=status, output=output))))
        return output

    def _write_end(self, call: ToolCall) -> ToolCall:
        call = replace(call, ended=time.time())
        noted = self._run.ledger.get(call.call_id)
        # A tool that does not stop when it is cancelled has been given up all the same.
        if noted is None or noted.ended is None or not _is_cancelled():
            self._run.ledger.write(call)
        return call

    def _note_cancelled(self, call_id: str) -> None:
        call = self._run.ledger.get(call_id)
        if call is not None and call.status == "running":
            self._run.ledger.write(replace(call, status="cancelled", ended=time.time()))

    def _report(self, notice: Notice) -> None:
        self._tell(notice)
        self._wake()


def _text_of(output: object) -> str:
    if isinstance(output, str):
        return output
    if iscoroutine(output):
        output.close()
    raise UsageError(f"on_tool_error must return text for the model, and not {output!r}")


def _is_cancelled() -> bool:
    """Tell whether the current task is cancelled, and not merely something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
