/* SPDX-License-Identifier: GPL-3.0-or-later */
/* led - the lights of a slot, and which slot a drive is in, through the kernel's enclosure class.
 *
 * An enclosure is named by its `id` attribute (a SAS address; where it has none, by its folder's
 * name), a slot by its number. Each slot offers `locate`, `fault` and `active`; a backplane may
 * ignore any of them. There is no light for "safe to remove": the locate light, steady, says "take
 * this one".
 *
 * Attributes are written only when they change, since each write is a command to the backplane; and
 * never read back: `fault` reads 2 after a 1. Writing may block for the time of a SCSI command. One
 * thread an object. Source: hotplug specification, section 7; Documentation/ABI
 * sysfs-class-enclosure.
 */
#pragma once

#include "hal/bay.h"
#include "hal/host.h"

/* X(identifier, name, locate, fault, active) */
#define HAL_LED_PATTERNS(X)              \
        X(OFF, "off", 0, 0, 0)           \
        X(ACTIVITY, "activity", 0, 0, 1) \
        X(FAULT, "fault", 0, 1, 0)       \
        X(SAFE_TO_REMOVE, "safe-to-remove", 1, 0, 0)

enum hal_led_pattern {
#define X(id, name, locate, fault, active) HAL_LED_##id,
        HAL_LED_PATTERNS(X)
#undef X
                _HAL_LED_PATTERN_MAX,
        _HAL_LED_PATTERN_INVALID = -EINVAL,
};
const char *hal_led_pattern_to_string(enum hal_led_pattern p);      /* NULL outside the list */
enum hal_led_pattern hal_led_pattern_from_string(const char *name); /* _INVALID for others */

struct hal_led;

/* The lights of a slot. Finds the slot now, and again when the enclosure was away.
 *   place   an enclosure's
 *   host    borrowed; NULL: the real machine
 * Returns 0; -EINVAL for another kind of place; -ENOMEM. A slot that is not there is told by
 * hal_led_set(). */
int hal_led_new(const struct hal_host *host, const struct hal_place *place,
                struct hal_led **ret_led) _must_check_;
struct hal_led *hal_led_free(struct hal_led *l); /* NULL is fine; leaves the lights; returns NULL */
DEFINE_CLEANUP(hal_led_free, struct hal_led *);

/* Shows a pattern, and the operator's "where is it?" over it (locate on, whatever the pattern
 * says). Returns 0; -ENOENT when the slot is not there, or it has none of these lights; -EACCES,
 * -EIO and others when none of the lights that it has could be written. */
int hal_led_set(struct hal_led *l, enum hal_led_pattern pattern, bool locate) _must_check_;

/* The slot whose drive is this disk ("sdb"). Returns 0; -ENOENT when no enclosure knows it;
 * -ENOMEM.
 */
int hal_led_slot_of(const struct hal_host *host, const char *disk,
                    char ret_enclosure[HAL_PLACE_MAX], uint32_t *ret_slot) _must_check_;
