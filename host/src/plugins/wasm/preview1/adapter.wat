;; WASI preview 1, as far as a plugin needs it, from the call alone. Keeps nothing
;; between calls and takes no memory of its own, so that a used instance answers as a
;; fresh one, and it works before the guest's runtime has started.
;;
;; Error numbers of preview 1: 8 badf, 28 inval, 44 noent, 52 nosys, 70 spipe.
(module
  (import "sagabox:plugin/logging@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-instant" (func $at (param i64) (result i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
  (import "env" "memory" (memory 0))

  ;; ---- the process: no arguments, no environment -------------------------------
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func (export "proc_exit") (param $code i32)
    (call $exit (i32.ne (local.get $code) (i32.const 0)))
    unreachable)
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; ---- time: every clock is the call's, and moves by waiting alone --------------
  (func (export "clock_res_get") (param $clock i32) (param $out i32) (result i32)
    (i64.store (local.get $out) (i64.const 1000000))
    (i32.const 0))
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $out i32) (result i32)
    (i64.store (local.get $out) (call $now))
    (i32.const 0))
  (func $wait (param $pollable i32)
    (call $block (local.get $pollable))
    (call $drop (local.get $pollable)))
  ;; Each subscription (48 bytes) becomes an event (32 bytes): clocks have come, files are ready.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $n i32) (param $count i32) (result i32)
    (local $left i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 28))))
    (local.set $left (local.get $n))
    (loop $next
      (i64.store (local.get $out) (i64.load (local.get $in)))                       ;; userdata
      (i32.store16 offset=8 (local.get $out) (i32.const 0))                         ;; no error
      (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in))) ;; kind
      (i64.store offset=16 (local.get $out) (i64.const 0))
      (i64.store offset=24 (local.get $out) (i64.const 0))
      (if (i32.eqz (i32.load8_u offset=8 (local.get $in)))
        (then (if (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1))
          (then (call $wait (call $at (i64.load offset=24 (local.get $in)))))
          (else (call $wait (call $after (i64.load offset=24 (local.get $in))))))))
      (local.set $in (i32.add (local.get $in) (i32.const 48)))
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $next (local.get $left)))
    (i32.store (local.get $count) (local.get $n))
    (i32.const 0))

  ;; ---- randomness: the call's --------------------------------------------------
  (func (export "random_get") (param $p i32) (param $n i32) (result i32)
    (local $bits i64) (local $have i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $n)))
      (if (i32.eqz (local.get $have))
        (then (local.set $bits (call $random)) (local.set $have (i32.const 8))))
      (i64.store8 (local.get $p) (local.get $bits))
      (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
      (local.set $have (i32.sub (local.get $have) (i32.const 1)))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $next)))
    (i32.const 0))

  ;; ---- files: 0 is at its end, 1 and 2 are the log, there are no others ----------
  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $n i32) (param $out i32) (result i32)
    (local $sum i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $n)))
      (if (i32.load offset=4 (local.get $parts))
        ;; The levels info (2) and warn (3).
        (then (call $log (i32.add (local.get $fd) (i32.const 1))
          (i32.load (local.get $parts)) (i32.load offset=4 (local.get $parts)))))
      (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $parts))))
      (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $next)))
    (i32.store (local.get $out) (local.get $sum))
    (i32.const 0))
  (func (export "fd_read") (param $fd i32) (param i32 i32) (param $out i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $out) (i32.const 0))
    (i32.const 0))
  (func (export "fd_fdstat_get") (param $fd i32) (param $out i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $out) (i64.const 2))                ;; a character device without flags
    (i64.store offset=8 (local.get $out) (i64.const 0x42))    ;; that can be read and written
    (i64.store offset=16 (local.get $out) (i64.const 0))
    (i32.const 0))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 0))
  (func (export "fd_close") (param i32) (result i32) (i32.const 0))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 70))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 44))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 44))
)
