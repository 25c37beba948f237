/* SPDX-License-Identifier: GPL-3.0-or-later */
/* json - strict parsing and getters on jansson. */
#include "base/json.h"

#include <malloc.h>

#include "base/secret.h"

#define JSON_MAX_BYTES ((size_t)16 << 20)

static void wiping_free(void *p)
{
        if (p)
                bth_wipe(p, malloc_usable_size(p));
        free(p);
}

void bth_json_wipe_freed(void)
{
        json_set_alloc_funcs(malloc, wiping_free);
}

int bth_json_parse(const char *text, size_t n, json_t **ret_json, struct bth_error *error)
{
        json_error_t e;
        json_t *j;

        if (n > JSON_MAX_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the JSON text has %zu bytes, %zu are allowed", n,
                                     JSON_MAX_BYTES);
        j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
        if (!j) {
                if (json_error_code(&e) == json_error_out_of_memory)
                        return -ENOMEM;
                bth_error_at(error, NULL, (uint64_t)MAX(e.line, 0), BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "this is not JSON (column %d: %s)", e.column, e.text);
        }
        if (!json_is_object(j)) {
                json_decref(j);
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "a JSON object is expected here");
        }
        *ret_json = j;
        return 0;
}

static const json_t *get(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);

        return json_is_null(v) ? NULL : v;
}

int bth_json_get_string(const json_t *object, const char *key, const char **ret_text)
{
        const json_t *v = get(object, key);

        if (!v)
                return -ENOENT;
        if (!json_is_string(v))
                return -EBADMSG;
        *ret_text = json_string_value(v);
        return 0;
}

int bth_json_get_u64(const json_t *object, const char *key, uint64_t *ret_value)
{
        const json_t *v = get(object, key);

        if (!v)
                return -ENOENT;
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                return -EBADMSG;
        *ret_value = (uint64_t)json_integer_value(v);
        return 0;
}

int bth_json_get_bool(const json_t *object, const char *key, bool *ret_value)
{
        const json_t *v = get(object, key);

        if (!v)
                return -ENOENT;
        if (!json_is_boolean(v))
                return -EBADMSG;
        *ret_value = json_is_true(v);
        return 0;
}

char *bth_json_to_text(const json_t *j)
{
        return json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_SORT_KEYS);
}
