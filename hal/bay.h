/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bay - the places of a station that take drives, as the operator named them.
 *
 * A bay has a name and one or more places, each written KIND:VALUE:
 *
 *     id-path:pci-0000:00:1f.2-ata-2.0     udev's ID_PATH, whole or with a final *
 *     enclosure:500056b31234abcd/4         enclosure's id in sysfs, and the slot's number
 *     usb:2-1.3                            the port that the drive's bridge is plugged into
 *     directory:/srv/bays/1                a virtual bay: an image file in it is a docked drive
 *
 * A drive at no bay's place is never touched. Names and places are configuration, and trusted; they
 * are checked for mistakes. One thread changes the set; any may look. Source: design, section 5. */
#pragma once

#include "base/error.h"
#include "base/macros.h"
#include "base/str.h"

#define HAL_BAY_NAME_MAX   64  /* bytes with NUL */
#define HAL_PLACE_MAX      256 /* bytes of a value with NUL */
#define HAL_BAYS_MAX       256
#define HAL_BAY_PLACES_MAX 4

/* X(identifier, name) */
#define HAL_PLACE_KINDS(X)        \
        X(ID_PATH, "id-path")     \
        X(ENCLOSURE, "enclosure") \
        X(USB, "usb")             \
        X(DIRECTORY, "directory")

enum hal_place_kind {
#define X(id, name) HAL_PLACE_##id,
        HAL_PLACE_KINDS(X)
#undef X
                _HAL_PLACE_KIND_MAX,
        _HAL_PLACE_KIND_INVALID = -EINVAL,
};
const char *hal_place_kind_to_string(enum hal_place_kind k);      /* NULL outside the list */
enum hal_place_kind hal_place_kind_from_string(const char *name); /* _INVALID for others */

struct hal_place {
        enum hal_place_kind kind;
        char value[HAL_PLACE_MAX]; /* without the slot */
        uint32_t slot;             /* ENCLOSURE */
};

struct hal_bay {
        char name[HAL_BAY_NAME_MAX];
        struct hal_place places[HAL_BAY_PLACES_MAX];
        size_t n_places;
};

/* Zero-initialise; free with hal_bays_clear(). */
struct hal_bays {
        struct hal_bay *bays;
        size_t n_bays;
};

/* Where a drive is, in every way it is known; "" and false: not known. */
struct hal_whereabouts {
        char id_path[HAL_PLACE_MAX];
        char usb_port[HAL_PLACE_MAX];
        char enclosure[HAL_PLACE_MAX];
        uint32_t slot;
        char directory[HAL_PLACE_MAX];
};

/* Reads "KIND:VALUE". Returns 0; -EINVAL with the mistake in the error. */
int hal_place_parse(const char *text, struct hal_place *ret_place, struct bth_error *error)
        _must_check_;
/* Writes "KIND:VALUE" into `out` and returns it. */
#define HAL_PLACE_TEXT_MAX (HAL_PLACE_MAX + 32)
char *hal_place_to_string(const struct hal_place *p, char *out);

/* Adds a place to the bay of that name, which is made when it is new. Names have letters, digits,
 * '.', '_' and '-'. Returns 0; -EINVAL for a bad name or place; -EEXIST when a bay has that place
 * already; -E2BIG beyond the limits; -ENOMEM. */
int hal_bays_add(struct hal_bays *b, const char *name, const char *place, struct bth_error *error)
        _must_check_;
void hal_bays_clear(struct hal_bays *b);
static inline void hal_bays_clearp(struct hal_bays *b)
{
        hal_bays_clear(b);
}

/* The bay of that name, or the one where the drive is: whole places count before patterns. NULL
 * when there is none. */
const struct hal_bay *hal_bays_find(const struct hal_bays *b, const char *name);
const struct hal_bay *hal_bays_at(const struct hal_bays *b, const struct hal_whereabouts *w);

/* The place of a kind of this bay, or NULL. */
const struct hal_place *hal_bay_place(const struct hal_bay *b, enum hal_place_kind kind);

/* The place by which an operator would name it: the slot, the port, or the path.
 * Returns 0, or -ENOENT when nothing is known. */
int hal_whereabouts_to_place(const struct hal_whereabouts *w, struct hal_place *ret_place)
        _must_check_;

/* Adds the udev rules that tell systemd/60-berth.rules which drives are in bays: the content of
 * 59-berth-bays.rules. udev knows paths and ports; of a bay that is only named by an enclosure's
 * slot it cannot know the drives, and a comment says so. Returns 0; -ENOENT when there is such a
 * bay (the rules are complete for the others); -ENOMEM. */
int hal_bays_udev_rules(const struct hal_bays *b, struct bth_buf *rules) _must_check_;
