/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bay - parsing of places, and which bay a drive is in. */
#include "hal/bay.h"

#include <stdio.h>
#include <string.h>

#define X(id, name) name,
static const char *const kind_names[] = { HAL_PLACE_KINDS(X) };
#undef X

const char *hal_place_kind_to_string(enum hal_place_kind k)
{
        return k >= 0 && k < _HAL_PLACE_KIND_MAX ? kind_names[k] : NULL;
}

enum hal_place_kind hal_place_kind_from_string(const char *name)
{
        for (int i = 0; i < _HAL_PLACE_KIND_MAX; i++)
                if (bth_streq(name, kind_names[i]))
                        return (enum hal_place_kind)i;
        return _HAL_PLACE_KIND_INVALID;
}

static bool is_one_of(char c, const char *more)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c != '\0' && strchr(more, c));
}

static bool all_of(const char *text, const char *more)
{
        while (is_one_of(*text, more))
                text++;
        return *text == '\0';
}

static int check_enclosure(struct hal_place *p)
{
        char *slash = strrchr(p->value, '/');
        uint64_t slot;

        if (!slash || slash == p->value || bth_parse_u64(slash + 1, &slot) < 0 || slot > UINT32_MAX)
                return -EINVAL;
        *slash = '\0';
        p->slot = (uint32_t)slot;
        return all_of(p->value, ":.-_") ? 0 : -EINVAL;
}

static int check_value(struct hal_place *p)
{
        const char *star;

        switch (p->kind) {
        case HAL_PLACE_ID_PATH:
                star = strchr(p->value, '*');
                return star == p->value || (star && star[1] != '\0') || !all_of(p->value, ":.-_+*")
                               ? -EINVAL
                               : 0;
        case HAL_PLACE_ENCLOSURE:
                return check_enclosure(p);
        case HAL_PLACE_USB:
                return strchr(p->value, '-') && all_of(p->value, "-.") ? 0 : -EINVAL;
        case HAL_PLACE_DIRECTORY:
                /* Compared as text, so there must be one way to write it. */
                return p->value[0] == '/' && !strstr(p->value, "//") && !strstr(p->value, "/.") &&
                                       !bth_ends_with(p->value, "/")
                               ? 0
                               : -EINVAL;
        default:
                return -EINVAL;
        }
}

int hal_place_parse(const char *text, struct hal_place *ret_place, struct bth_error *error)
{
        static const char *const want[] = {
                [HAL_PLACE_ID_PATH] = "an ID_PATH of udev, with a * at most at its end",
                [HAL_PLACE_ENCLOSURE] = "ID/SLOT, the slot as a number",
                [HAL_PLACE_USB] = "a port like 2-1.3",
                [HAL_PLACE_DIRECTORY] = "an absolute path without //, /. and a final /",
        };
        const char *colon = strchr(text, ':');
        struct hal_place p = { .kind = _HAL_PLACE_KIND_INVALID };
        char kind[16];

        if (colon && (size_t)(colon - text) < sizeof kind) {
                memcpy(kind, text, (size_t)(colon - text));
                kind[colon - text] = '\0';
                p.kind = hal_place_kind_from_string(kind);
        }
        if (p.kind < 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the place '%s' does not begin with id-path:, enclosure:, "
                                     "usb: or directory:",
                                     text);
        if (colon[1] == '\0' || strlen(colon + 1) >= sizeof p.value)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the place '%s' is empty or too long", text);
        memcpy(p.value, colon + 1, strlen(colon + 1) + 1);
        if (check_value(&p) < 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the place '%s' is not %s", text, want[p.kind]);
        *ret_place = p;
        return 0;
}

char *hal_place_to_string(const struct hal_place *p, char *out)
{
        if (p->kind == HAL_PLACE_ENCLOSURE)
                (void)snprintf(out, HAL_PLACE_TEXT_MAX, "enclosure:%s/%u", p->value, p->slot);
        else
                (void)snprintf(out, HAL_PLACE_TEXT_MAX, "%s:%s", kind_names[p->kind], p->value);
        return out;
}

/* ---- the set ---- */

static bool same_place(const struct hal_place *a, const struct hal_place *b)
{
        return a->kind == b->kind && a->slot == b->slot && strcmp(a->value, b->value) == 0;
}

static const struct hal_bay *bay_with(const struct hal_bays *b, const struct hal_place *p)
{
        for (size_t i = 0; i < b->n_bays; i++)
                for (size_t k = 0; k < b->bays[i].n_places; k++)
                        if (same_place(&b->bays[i].places[k], p))
                                return &b->bays[i];
        return NULL;
}

const struct hal_bay *hal_bays_find(const struct hal_bays *b, const char *name)
{
        for (size_t i = 0; i < b->n_bays; i++)
                if (bth_streq(b->bays[i].name, name))
                        return &b->bays[i];
        return NULL;
}

/* The bay of that name, made when it is new. */
static int find_or_make(struct hal_bays *b, const char *name, struct hal_bay **ret_bay)
{
        const struct hal_bay *known = hal_bays_find(b, name);
        struct hal_bay *grown;

        if (known) {
                *ret_bay = &b->bays[known - b->bays];
                return 0;
        }
        if (b->n_bays == HAL_BAYS_MAX)
                return -E2BIG;
        grown = reallocarray(b->bays, b->n_bays + 1, sizeof *grown);
        if (!grown)
                return -ENOMEM;
        b->bays = grown;
        grown[b->n_bays] = (struct hal_bay){ 0 };
        memcpy(grown[b->n_bays].name, name, strlen(name) + 1);
        *ret_bay = &grown[b->n_bays++];
        return 0;
}

int hal_bays_add(struct hal_bays *b, const char *name, const char *place, struct bth_error *error)
{
        const struct hal_bay *taken;
        struct hal_place p = { 0 };
        struct hal_bay *bay = NULL;
        int r;

        if (name[0] == '\0' || strlen(name) >= HAL_BAY_NAME_MAX || !all_of(name, "._-"))
                return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                     "'%s' is no name for a bay: up to %d letters, digits, '.', "
                                     "'_' and '-'",
                                     name, HAL_BAY_NAME_MAX - 1);
        r = hal_place_parse(place, &p, error);
        if (r < 0)
                return r;
        taken = bay_with(b, &p);
        if (taken)
                return bth_error_set(error, -EEXIST, BTH_REASON_VALUE_INVALID,
                                     "the place '%s' belongs to the bay %s already", place,
                                     taken->name);
        r = find_or_make(b, name, &bay);
        if (r == 0 && bay->n_places == HAL_BAY_PLACES_MAX)
                r = -E2BIG;
        if (r < 0)
                return bth_error_set(
                        error, r,
                        r == -ENOMEM ? BTH_REASON_OUT_OF_MEMORY : BTH_REASON_LIMIT_EXCEEDED,
                        "at most %d bays, with %d places each", HAL_BAYS_MAX, HAL_BAY_PLACES_MAX);
        bay->places[bay->n_places++] = p;
        return 0;
}

void hal_bays_clear(struct hal_bays *b)
{
        free(b->bays);
        *b = (struct hal_bays){ 0 };
}

const struct hal_place *hal_bay_place(const struct hal_bay *b, enum hal_place_kind kind)
{
        for (size_t i = 0; i < b->n_places; i++)
                if (b->places[i].kind == kind)
                        return &b->places[i];
        return NULL;
}

/* ---- where a drive is ---- */

static bool matches(const struct hal_place *p, const struct hal_whereabouts *w, bool patterns)
{
        const size_t n = strlen(p->value);
        const bool pattern = p->kind == HAL_PLACE_ID_PATH && n > 0 && p->value[n - 1] == '*';

        if (pattern != patterns)
                return false;
        switch (p->kind) {
        case HAL_PLACE_ID_PATH:
                return pattern ? strncmp(p->value, w->id_path, n - 1) == 0
                               : strcmp(p->value, w->id_path) == 0;
        case HAL_PLACE_ENCLOSURE:
                return p->slot == w->slot && strcmp(p->value, w->enclosure) == 0;
        case HAL_PLACE_USB:
                return strcmp(p->value, w->usb_port) == 0;
        case HAL_PLACE_DIRECTORY:
                return strcmp(p->value, w->directory) == 0;
        default:
                return false;
        }
}

const struct hal_bay *hal_bays_at(const struct hal_bays *b, const struct hal_whereabouts *w)
{
        for (int patterns = 0; patterns < 2; patterns++)
                for (size_t i = 0; i < b->n_bays; i++)
                        for (size_t k = 0; k < b->bays[i].n_places; k++)
                                if (matches(&b->bays[i].places[k], w, patterns))
                                        return &b->bays[i];
        return NULL;
}

int hal_whereabouts_to_place(const struct hal_whereabouts *w, struct hal_place *ret_place)
{
        const struct {
                enum hal_place_kind kind;
                const char *value;
        } ways[] = {
                { HAL_PLACE_DIRECTORY, w->directory },
                { HAL_PLACE_ENCLOSURE, w->enclosure },
                { HAL_PLACE_USB, w->usb_port },
                { HAL_PLACE_ID_PATH, w->id_path },
        };

        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                if (ways[i].value[0] == '\0')
                        continue;
                *ret_place = (struct hal_place){ .kind = ways[i].kind };
                memcpy(ret_place->value, ways[i].value, strlen(ways[i].value) + 1);
                if (ways[i].kind == HAL_PLACE_ENCLOSURE)
                        ret_place->slot = w->slot;
                return 0;
        }
        return -ENOENT;
}

/* ---- what udev is told ---- */

/* Names and places were checked: no quotes, no blanks, and of udev's patterns only the final *. */
static int add_rule(const struct hal_bay *bay, const struct hal_place *p, struct bth_buf *rules)
{
        if (p->kind == HAL_PLACE_ID_PATH)
                return bth_buf_add_format(rules, "ENV{ID_PATH}==\"%s\", ENV{BERTH_BAY}=\"%s\"\n",
                                          p->value, bay->name);
        return bth_buf_add_format(rules,
                                  "SUBSYSTEMS==\"usb\", KERNELS==\"%s\", "
                                  "ENV{BERTH_BAY}=\"%s\"\n",
                                  p->value, bay->name);
}

static int add_bay(const struct hal_bay *bay, struct bth_buf *rules, bool *ret_known)
{
        int r = 0;

        *ret_known = false;
        for (size_t i = 0; i < bay->n_places && r == 0; i++) {
                const enum hal_place_kind kind = bay->places[i].kind;

                *ret_known = *ret_known || kind != HAL_PLACE_ENCLOSURE;
                if (kind == HAL_PLACE_ID_PATH || kind == HAL_PLACE_USB)
                        r = add_rule(bay, &bay->places[i], rules);
        }
        if (r == 0 && !*ret_known)
                r = bth_buf_add_format(rules,
                                       "# The bay %s is named by an enclosure's slot only; give it "
                                       "an id-path as well.\n",
                                       bay->name);
        return r;
}

int hal_bays_udev_rules(const struct hal_bays *b, struct bth_buf *rules)
{
        bool all_known = true, known;
        int r = bth_buf_add_string(rules,
                                   "# Written from Berth's configuration; changes here are lost.\n"
                                   "SUBSYSTEM!=\"block\", GOTO=\"berth_bays_end\"\n"
                                   "ACTION==\"remove\", GOTO=\"berth_bays_end\"\n"
                                   "ENV{DEVTYPE}!=\"disk\", GOTO=\"berth_bays_end\"\n"
                                   "ENV{ID_PATH}!=\"?*\", IMPORT{builtin}=\"path_id\"\n");

        for (size_t i = 0; i < b->n_bays && r == 0; i++) {
                r = add_bay(&b->bays[i], rules, &known);
                all_known = all_known && known;
        }
        if (r == 0)
                r = bth_buf_add_string(rules, "LABEL=\"berth_bays_end\"\n");
        return r < 0 ? r : all_known ? 0 : -ENOENT;
}
