"""The group checkout: every guest's stay is checked out; when each has an outcome, or the deadline has
passed, the result is reported once."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from sagabox import (
    Context,
    command,
    config,
    event,
    hold,
    on,
    on_cancel,
    on_timer,
    process_manager,
    start,
    timer,
)


@timer
class Deadline:
    pass


@event(subject="group_checkout_id")
class GroupCheckoutInitiated:
    group_checkout_id: str
    guest_stay_ids: list[str]


@event(subject="group_checkout_id")
class GuestCheckoutCompleted:
    guest_stay_id: str
    group_checkout_id: str


@event(subject="group_checkout_id")
class GuestCheckoutFailed:
    guest_stay_id: str
    group_checkout_id: str


@command(subject="guest_stay_id")
class CheckoutGuestAccount:
    guest_stay_id: str
    group_checkout_id: str


@command(subject="group_checkout_id")
class CompleteGroupCheckout:
    group_checkout_id: str


@command(subject="group_checkout_id")
class NotifyGroupCheckoutFailure:
    group_checkout_id: str
    failed_guest_ids: list[str]
    timed_out_guest_ids: list[str]


@config
class Configuration:
    """The plugin's section in `sagabox.toml`."""

    #: How long it waits for the guests' outcomes; a day if nothing is said.
    deadline_seconds: int | None = None


class Outcome(Enum):
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass
class Checkout:
    group_checkout_id: str
    #: By stay: each guest is counted once, however often its event comes.
    stays: dict[str, Outcome]

    def with_outcome(self, outcome: Outcome) -> list[str]:
        return sorted(stay for stay, known in self.stays.items() if known is outcome)


@process_manager(
    state=Checkout,
    config=Configuration,
    sends=[CheckoutGuestAccount, CompleteGroupCheckout, NotifyGroupCheckoutFailure],
)
class GroupCheckout:
    @start(GroupCheckoutInitiated, key="/groupCheckoutId")
    def initiated(self, event: GroupCheckoutInitiated, ctx: Context[Configuration]) -> Checkout:
        stays = dict.fromkeys(sorted(event.guest_stay_ids), Outcome.PENDING)
        for stay in stays:
            ctx.send(CheckoutGuestAccount(stay, event.group_checkout_id))
        seconds = ctx.config.deadline_seconds
        ctx.set_timer(Deadline(), timedelta(days=1) if seconds is None else timedelta(seconds=seconds))
        checkout = Checkout(event.group_checkout_id, stays)
        self.conclude_if_all_have_an_outcome(checkout, ctx)
        return checkout

    @on(GuestCheckoutCompleted, key="/groupCheckoutId", absent=hold("1h"))
    def completed(self, checkout: Checkout, event: GuestCheckoutCompleted, ctx: Context) -> None:
        self.record(checkout, event.guest_stay_id, Outcome.COMPLETED, ctx)

    @on(GuestCheckoutFailed, key="/groupCheckoutId", absent=hold("1h"))
    def failed(self, checkout: Checkout, event: GuestCheckoutFailed, ctx: Context) -> None:
        self.record(checkout, event.guest_stay_id, Outcome.FAILED, ctx)

    @on_timer(Deadline)
    def deadline(self, checkout: Checkout, timer: Deadline, ctx: Context) -> None:
        self.conclude(checkout, ctx)

    @on_cancel
    def cancelled(self, checkout: Checkout, ctx: Context) -> None:
        self.conclude(checkout, ctx)

    def record(self, checkout: Checkout, stay: str, outcome: Outcome, ctx: Context) -> None:
        """The first outcome of a stay counts. A stay of another group is ignored."""
        if checkout.stays.get(stay) is Outcome.PENDING:
            checkout.stays[stay] = outcome
            self.conclude_if_all_have_an_outcome(checkout, ctx)

    def conclude_if_all_have_an_outcome(self, checkout: Checkout, ctx: Context) -> None:
        if not checkout.with_outcome(Outcome.PENDING):
            self.conclude(checkout, ctx)

    def conclude(self, checkout: Checkout, ctx: Context) -> None:
        ctx.complete()
        failed = checkout.with_outcome(Outcome.FAILED)
        timed_out = checkout.with_outcome(Outcome.PENDING)
        if failed or timed_out:
            ctx.send(NotifyGroupCheckoutFailure(checkout.group_checkout_id, failed, timed_out))
        else:
            ctx.send(CompleteGroupCheckout(checkout.group_checkout_id))
