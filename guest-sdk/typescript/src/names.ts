/** Rules of the host for names, checked where an author makes them. */

/** Anything but an RFC 6901 JSON Pointer to a member. */
export const MALFORMED_POINTER = /^[^/]|^$|~(?![01])/;

export const NAME = /^[a-z0-9-]{1,64}$/;
export const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

export const TIMER_FIRED = 'sagabox.timer.fired';
export const UNDELIVERABLE = 'sagabox.command.undeliverable';
export const CANCELLED = 'sagabox.instance.cancelled';
export const RESERVED = 'sagabox.';
