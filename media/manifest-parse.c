/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-parse - XML events into headers, lists and blobs.
 *
 *     document ─ root ─ drive ─┬─ leaf                 DriveId, credential, ClientCreator
 *                              ├─ list ─┬─ leaf        default MetadataPath, PropertiesPath
 *                              │        └─ blob ─┬─ leaf
 *                              │                 └─ ranges ─ range
 *                              └─ unknown ─ … ─ blob   File entries may stand anywhere
 *
 * Names are compared as pointers, and the hot path (a Block element) allocates nothing.
 * Source: import-export specification 2.2 to 2.6, 2.8, 2.10. */
#include <inttypes.h>

#include "base/checked.h"
#include "media/manifest-internal.h"

#define ID_KEEP_CHARS 128u /* of a block id: longer ones are wrong anyway */

static const char *const token_names[] = {
#define X(id, name) name,
        TOKENS(X)
#undef X
};

const char *manifest_token_name(enum token t)
{
        return token_names[t];
}

/* --- values --- */

/* Values of hexadecimal digits, marked, and marked once more when lower case; 0: no digit. */
#define HEX       0x40
#define HEX_LOWER 0x20
static const uint8_t hex_table[256] = {
        ['0'] = HEX | 0,
        ['1'] = HEX | 1,
        ['2'] = HEX | 2,
        ['3'] = HEX | 3,
        ['4'] = HEX | 4,
        ['5'] = HEX | 5,
        ['6'] = HEX | 6,
        ['7'] = HEX | 7,
        ['8'] = HEX | 8,
        ['9'] = HEX | 9,
        ['A'] = HEX | 10,
        ['B'] = HEX | 11,
        ['C'] = HEX | 12,
        ['D'] = HEX | 13,
        ['E'] = HEX | 14,
        ['F'] = HEX | 15,
        ['a'] = HEX | HEX_LOWER | 10,
        ['b'] = HEX | HEX_LOWER | 11,
        ['c'] = HEX | HEX_LOWER | 12,
        ['d'] = HEX | HEX_LOWER | 13,
        ['e'] = HEX | HEX_LOWER | 14,
        ['f'] = HEX | HEX_LOWER | 15,
};

/* 32 hexadecimal digits, perhaps with white space around them; without a branch for each digit,
 * because there are millions. Returns -EINVAL, or 1 when a digit is lower case, or 0. */
static int parse_md5(const char *text, size_t n, uint8_t *ret_md5)
{
        const uint8_t *p;
        uint8_t any = 0, all = HEX;

        med_xml_trim(&text, &n);
        if (n != 2 * BTH_MD5_BYTES)
                return -EINVAL;
        p = (const uint8_t *)text;
        for (size_t i = 0; i < BTH_MD5_BYTES; i++) {
                const uint8_t high = hex_table[p[2 * i]], low = hex_table[p[2 * i + 1]];

                ret_md5[i] = (uint8_t)(high << 4 | (low & 0x0f));
                any |= high | low;
                all &= high & low;
        }
        if (!(all & HEX))
                return -EINVAL;
        return any & HEX_LOWER ? 1 : 0;
}

/* Reads a Hash attribute and says what is wrong with it. */
static bool read_hash(struct med_manifest_reader *r, enum token element, const char *text, size_t n,
                      uint64_t line, uint8_t *ret_md5)
{
        const int k = parse_md5(text, n, ret_md5);

        if (k < 0)
                manifest_note(r, MED_MANIFEST_FINDING_HASH_INVALID, line, "%s has '%.*s'",
                              token_names[element], (int)MIN(n, (size_t)72), text);
        else if (k > 0)
                manifest_note(r, MED_MANIFEST_FINDING_LOWER_CASE_HASH, line, "in %s",
                              token_names[element]);
        return k >= 0;
}

bool manifest_read_number(struct med_manifest_reader *r, enum token what, const char *text,
                          size_t n, uint64_t line, uint64_t *ret_value)
{
        med_xml_trim(&text, &n);
        if (bth_parse_u64_n(text, n, ret_value) == 0)
                return true;
        manifest_note(r, MED_MANIFEST_FINDING_NUMBER_INVALID, line, "%s is '%.*s'",
                      token_names[what], (int)MIN(n, (size_t)40), text);
        return false;
}

/* --- start of elements: each returns the state inside the element, or a negative errno --- */

static int start_unknown(struct med_manifest_reader *r, enum state inside, const char *name,
                         uint64_t line)
{
        manifest_note(r, MED_MANIFEST_FINDING_UNKNOWN_ELEMENT, line, "%.60s", name);
        return (int)inside;
}

static void read_sidecar_hash(struct med_manifest_reader *r, enum token t,
                              const struct med_xml_attributes *attributes, uint64_t line)
{
        memset(r->field_md5, 0, sizeof r->field_md5);
        for (size_t i = 0; i < attributes->n; i++) {
                size_t n;
                const char *value = med_xml_attribute_value(attributes, i, &n);

                if (med_xml_attribute_name(attributes, i) == r->names[T_HASH]) {
                        (void)read_hash(r, t, value, n, line, r->field_md5);
                        return;
                }
        }
        manifest_note(r, MED_MANIFEST_FINDING_ATTRIBUTE_MISSING, line, "%s has no Hash",
                      token_names[t]);
}

/* An element with text; `seen` has a bit for each that was there in the same parent. */
static int start_leaf(struct med_manifest_reader *r, enum token t, uint32_t *seen,
                      const struct med_xml_attributes *attributes, uint64_t line)
{
        if (*seen & manifest_bit(t)) {
                manifest_note(r, MED_MANIFEST_FINDING_ELEMENT_TWICE, line, "%s", token_names[t]);
                return S_IGNORED;
        }
        *seen |= manifest_bit(t);
        r->field = t;
        r->field_line = line;
        r->field_too_long = false;
        r->text.length = 0;
        if (t == T_METADATA_PATH || t == T_PROPERTIES_PATH)
                read_sidecar_hash(r, t, attributes, line);
        return S_LEAF;
}

static int start_misplaced(struct med_manifest_reader *r, enum token t, uint64_t line)
{
        manifest_note(r,
                      manifest_importing(r) ? MED_MANIFEST_FINDING_EXPORT_ONLY
                                            : MED_MANIFEST_FINDING_IMPORT_ONLY,
                      line, "%s", token_names[t]);
        return S_IGNORED;
}

static int start_root(struct med_manifest_reader *r, enum token t, const char *name,
                      const struct med_xml_attributes *attributes, uint64_t line)
{
        if (t != T_DRIVE_MANIFEST) {
                manifest_note(r, MED_MANIFEST_FINDING_NOT_A_MANIFEST, line, "it is '%.60s'", name);
                return -EBADMSG;
        }
        for (size_t i = 0; i < attributes->n; i++) {
                size_t n;
                const char *value = med_xml_attribute_value(attributes, i, &n);

                if (med_xml_attribute_name(attributes, i) != r->names[T_VERSION])
                        continue;
                r->summary->header.version = strndup(value, n);
                if (!r->summary->header.version)
                        return -ENOMEM;
        }
        if (!r->summary->header.version)
                manifest_note(r, MED_MANIFEST_FINDING_VERSION_MISSING, line, "%s", "");
        return S_ROOT;
}

static int start_drive(struct med_manifest_reader *r, uint64_t line)
{
        if (r->n_drives++ > 0) {
                manifest_note(r, MED_MANIFEST_FINDING_SEVERAL_DRIVES, line, "%s", "");
                return S_IGNORED;
        }
        r->drive_line = line;
        return S_DRIVE;
}

static int list_new(uint64_t index, uint64_t line, struct list **ret_list)
{
        struct list *l = calloc(1, sizeof *l);

        if (!l)
                return -ENOMEM;
        l->n_users = 1;
        l->public.index = index;
        l->public.line = line;
        *ret_list = l;
        return 0;
}

/* Defaults that an earlier pass found behind the blobs of this list. */
static int apply_late(struct med_manifest_reader *r)
{
        const struct med_manifest_summary *s = r->earlier;
        struct med_manifest_list *l = &r->list->public;

        while (s && r->next_late < s->n_late && s->late[r->next_late].list_index <= l->index) {
                const struct med_manifest_late_default *d = &s->late[r->next_late++];
                struct med_manifest_sidecar *sidecar =
                        d->properties ? &l->properties : &l->metadata;

                if (d->list_index != l->index || sidecar->path)
                        continue;
                sidecar->path = strdup(d->path);
                if (!sidecar->path)
                        return -ENOMEM;
                memcpy(sidecar->md5, d->md5, sizeof sidecar->md5);
                sidecar->line = d->line;
        }
        return 0;
}

static int start_list(struct med_manifest_reader *r, const struct med_xml_attributes *attributes,
                      uint64_t line)
{
        int k;

        r->drive_seen |= manifest_bit(T_BLOB_LIST);
        r->list_seen = 0;
        r->list_blobs = 0;
        r->list = manifest_list_unref(r->list);
        k = list_new(r->summary->n_lists++, line, &r->list);
        for (size_t i = 0; k == 0 && i < attributes->n; i++) {
                size_t n;
                const char *value = med_xml_attribute_value(attributes, i, &n);

                if (med_xml_attribute_name(attributes, i) != r->names[T_ID])
                        continue;
                r->list->public.id = strndup(value, n);
                if (!r->list->public.id)
                        k = -ENOMEM;
        }
        if (k == 0)
                k = apply_late(r);
        return k < 0 ? k : S_LIST;
}

static int start_blob(struct med_manifest_reader *r, enum token t, uint64_t line)
{
        struct list **list = r->list ? &r->list : &r->outside;
        struct slot *slot;
        int k = *list ? 0 : list_new(MED_MANIFEST_NO_LIST, line, list);

        if (k < 0)
                return k;
        slot = manifest_slot_take(r);
        if (!slot)
                return -ENOMEM;
        slot->list = *list;
        slot->list->n_users++;
        slot->blob.list = &slot->list->public;
        slot->blob.line = line;
        slot->blob.azure_file = t == T_FILE;
        r->draft = (struct draft){ .slot = slot };
        return S_BLOB;
}

static int start_ranges(struct med_manifest_reader *r, enum token t, uint64_t line)
{
        struct draft *d = &r->draft;

        if (d->has_list) {
                manifest_note(r, MED_MANIFEST_FINDING_TWO_RANGE_LISTS, line, "%s", token_names[t]);
                return S_IGNORED;
        }
        d->has_list = true;
        switch (t) {
        case T_BLOCK_LIST:
                d->slot->blob.kind = MED_MANIFEST_BLOCK;
                r->range_token = T_BLOCK;
                break;
        case T_PAGE_RANGE_LIST:
                d->slot->blob.kind = MED_MANIFEST_PAGE;
                r->range_token = T_PAGE_RANGE;
                break;
        default:
                d->slot->blob.kind = MED_MANIFEST_FILE;
                r->range_token = T_FILE_RANGE;
                break;
        }
        return S_RANGES;
}

/* --- ranges: the hot path --- */

static int read_id(struct slot *slot, const char *text, size_t n, uint32_t *ret_id)
{
        size_t at;
        int k;

        med_xml_trim(&text, &n);
        k = manifest_slot_add_text(slot, text, MIN(n, (size_t)ID_KEEP_CHARS), &at);
        if (k == 0)
                *ret_id = (uint32_t)at; /* at most 2 million ranges of 129 bytes */
        return k;
}

/* One attribute; the bits of those that are there are set in `seen`. */
static int read_range_attribute(struct med_manifest_reader *r, struct med_manifest_range *range,
                                const char *name, const char *value, size_t n, uint64_t line,
                                uint32_t *seen)
{
        struct draft *d = &r->draft;

        if (name == r->names[T_OFFSET]) {
                *seen |= manifest_bit(T_OFFSET);
                d->bad_range |=
                        !manifest_read_number(r, T_OFFSET, value, n, line, &range->offset_bytes);
        } else if (name == r->names[T_LENGTH]) {
                *seen |= manifest_bit(T_LENGTH);
                d->bad_range |=
                        !manifest_read_number(r, T_LENGTH, value, n, line, &range->length_bytes);
        } else if (name == r->names[T_HASH]) {
                *seen |= manifest_bit(T_HASH);
                d->bad_hash |= !read_hash(r, r->range_token, value, n, line, range->md5);
        } else if (name == r->names[T_ID] && r->range_token == T_BLOCK) {
                return read_id(d->slot, value, n, &range->id);
        }
        return 0;
}

static void check_range_attributes(struct med_manifest_reader *r, uint32_t seen, uint64_t line)
{
        static const enum token required[] = { T_OFFSET, T_LENGTH, T_HASH };

        for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
                if (seen & manifest_bit(required[i]))
                        continue;
                manifest_note(r, MED_MANIFEST_FINDING_ATTRIBUTE_MISSING, line, "%s has no %s",
                              token_names[r->range_token], token_names[required[i]]);
                if (required[i] == T_HASH)
                        r->draft.bad_hash = true;
                else
                        r->draft.bad_range = true;
        }
}

static int start_range(struct med_manifest_reader *r, const struct med_xml_attributes *attributes,
                       uint64_t line)
{
        const uint64_t max =
                r->range_token == T_BLOCK ? MED_MANIFEST_BLOCKS_MAX : MED_MANIFEST_RANGES_MAX;
        struct med_manifest_range range = {
                .id = MED_MANIFEST_NO_ID,
                .line = (uint32_t)MIN(line, (uint64_t)UINT32_MAX),
        };
        uint32_t seen = 0;

        if (r->draft.n_listed++ > max)
                return S_RANGE; /* one more than the limit is kept, for the check to see */
        for (size_t i = 0; i < attributes->n; i++) {
                size_t n;
                const char *value = med_xml_attribute_value(attributes, i, &n);

                if (read_range_attribute(r, &range, med_xml_attribute_name(attributes, i), value, n,
                                         line, &seen) < 0)
                        return -ENOMEM;
        }
        check_range_attributes(r, seen, line);
        return manifest_slot_add_range(r->draft.slot, &range) < 0 ? -ENOMEM : S_RANGE;
}

/* --- which element where --- */

static int start_in_drive(struct med_manifest_reader *r, enum token t, const char *name,
                          const struct med_xml_attributes *attributes, uint64_t line)
{
        switch (t) {
        case T_DRIVE_ID:
                if (r->drive_seen & manifest_bit(T_BLOB_LIST))
                        manifest_note(r, MED_MANIFEST_FINDING_DRIVE_ID_LATE, line, "%s", "");
                return start_leaf(r, t, &r->drive_seen, attributes, line);
        case T_ACCOUNT_KEY:
        case T_CONTAINER_SAS:
                if (!manifest_importing(r))
                        return start_misplaced(r, t, line);
                return start_leaf(r, t, &r->drive_seen, attributes, line);
        case T_CLIENT_CREATOR:
                return start_leaf(r, t, &r->drive_seen, attributes, line);
        case T_BLOB_LIST:
                return start_list(r, attributes, line);
        case T_FILE:
                return start_blob(r, t, line);
        default:
                return start_unknown(r, S_UNKNOWN, name, line);
        }
}

static int start_in_list(struct med_manifest_reader *r, enum token t, const char *name,
                         const struct med_xml_attributes *attributes, uint64_t line)
{
        switch (t) {
        case T_BLOB:
        case T_FILE:
                return start_blob(r, t, line);
        case T_METADATA_PATH:
        case T_PROPERTIES_PATH:
                if (!manifest_importing(r))
                        return start_misplaced(r, t, line);
                return start_leaf(r, t, &r->list_seen, attributes, line);
        default:
                return start_unknown(r, S_UNKNOWN, name, line);
        }
}

static int start_in_blob(struct med_manifest_reader *r, enum token t, const char *name,
                         const struct med_xml_attributes *attributes, uint64_t line)
{
        switch (t) {
        case T_BLOCK_LIST:
        case T_PAGE_RANGE_LIST:
                return start_ranges(r, t, line);
        case T_FILE_RANGE_LIST:
        case T_FILE_STORAGE_PATH:
                if (!r->draft.slot->blob.azure_file)
                        return start_unknown(r, S_IGNORED, name, line);
                return t == T_FILE_RANGE_LIST ? start_ranges(r, t, line)
                                              : start_leaf(r, t, &r->draft.seen, attributes, line);
        case T_DISPOSITION:
        case T_SNAPSHOT:
                if (manifest_importing(r) != (t == T_DISPOSITION))
                        return start_misplaced(r, t, line);
                return start_leaf(r, t, &r->draft.seen, attributes, line);
        case T_BLOB_PATH:
        case T_FILE_PATH:
        case T_CLIENT_DATA:
        case T_LENGTH:
        case T_METADATA_PATH:
        case T_PROPERTIES_PATH:
                return start_leaf(r, t, &r->draft.seen, attributes, line);
        default:
                return start_unknown(r, S_IGNORED, name, line);
        }
}

static enum token token_of(const struct med_manifest_reader *r, const char *name)
{
        int t = 0;

        while (t < N_TOKENS && r->names[t] != name)
                t++;
        return (enum token)t;
}

static int start_in(struct med_manifest_reader *r, enum state state, const char *name,
                    const struct med_xml_attributes *attributes, uint64_t line)
{
        enum token t;

        if (state == S_RANGES && name == r->names[r->range_token])
                return start_range(r, attributes, line);
        t = token_of(r, name);
        switch (state) {
        case S_DOCUMENT:
                return start_root(r, t, name, attributes, line);
        case S_ROOT:
                return t == T_DRIVE ? start_drive(r, line)
                                    : start_unknown(r, S_IGNORED, name, line);
        case S_DRIVE:
                return start_in_drive(r, t, name, attributes, line);
        case S_LIST:
                return start_in_list(r, t, name, attributes, line);
        case S_BLOB:
                return start_in_blob(r, t, name, attributes, line);
        case S_UNKNOWN:
                return t == T_FILE ? start_blob(r, t, line) : S_UNKNOWN;
        case S_IGNORED:
                return S_IGNORED;
        default:
                return start_unknown(r, S_IGNORED, name, line);
        }
}

int manifest_on_start(void *userdata, const char *name, const struct med_xml_attributes *attributes,
                      uint64_t line)
{
        struct med_manifest_reader *r = userdata;
        int inside = start_in(r, r->stack[r->depth], name, attributes, line);

        if (inside < 0)
                return inside;
        r->stack[++r->depth] = (enum state)inside;
        r->stray = false;
        return 0;
}

/* --- text --- */

int manifest_on_text(void *userdata, const char *text, size_t n)
{
        struct med_manifest_reader *r = userdata;
        const enum state state = r->stack[r->depth];

        if (state == S_LEAF) {
                const bool secret = r->field == T_ACCOUNT_KEY || r->field == T_CONTAINER_SAS;
                const size_t limit = secret ? MANIFEST_SECRET_BYTES - 1 : MED_MANIFEST_TEXT_BYTES;

                if (n <= limit - r->text.length)
                        return bth_buf_add(&r->text, text, n);
                r->field_too_long = true;
                return 0;
        }
        if (state == S_IGNORED || state == S_UNKNOWN || r->stray)
                return 0;
        med_xml_trim(&text, &n);
        if (n > 0) {
                r->stray = true;
                manifest_note(r, MED_MANIFEST_FINDING_STRAY_TEXT, med_xml_line(r->xml), "%s", "");
        }
        return 0;
}

/* --- end of elements --- */

int manifest_on_end(void *userdata, const char *name, uint64_t line)
{
        struct med_manifest_reader *r = userdata;
        const enum state state = r->stack[r->depth--];

        r->stray = false;
        if (state == S_LEAF)
                return manifest_end_leaf(r, r->stack[r->depth]);
        if (state == S_BLOB)
                return manifest_end_blob(r);
        if (state == S_LIST)
                r->list = manifest_list_unref(r->list);
        return 0;
}
