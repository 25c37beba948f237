/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-body - what clients send: see rest-json.h. Every table below is one of the specification's.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "daemon/rest-json.h"

#define KEY_BYTES_MAX 256u
#define TAG_NAME_MAX  512u
#define TAG_VALUE_MAX 256u
#define PATH_MAX_TEXT 120 /* of a member in a fault */

enum member_kind {
        MEMBER_TEXT,
        MEMBER_NUMBER,
        MEMBER_BOOL,
        MEMBER_OBJECT,
        MEMBER_ARRAY,
        MEMBER_ANY, /* the service's own: not looked at */
};

struct member {
        const char *name;
        enum member_kind kind;
        bool required;
};

/* 7.5 */
static const struct member address_members[] = {
        { "recipientName", MEMBER_TEXT, true },
        { "streetAddress1", MEMBER_TEXT, true },
        { "streetAddress2", MEMBER_TEXT, false },
        { "city", MEMBER_TEXT, true },
        { "stateOrProvince", MEMBER_TEXT, false },
        { "postalCode", MEMBER_TEXT, true },
        { "countryOrRegion", MEMBER_TEXT, true },
        { "phone", MEMBER_TEXT, true },
        { "email", MEMBER_TEXT, true },
        { NULL, MEMBER_ANY, false },
};
static const struct member shipping_members[] = {
        { "carrierName", MEMBER_TEXT, true },
        { "carrierAccountNumber", MEMBER_TEXT, true },
        { NULL, MEMBER_ANY, false },
};
static const struct member package_members[] = {
        { "carrierName", MEMBER_TEXT, true },
        { "trackingNumber", MEMBER_TEXT, true },
        { "driveCount", MEMBER_NUMBER, false },
        { "shipDate", MEMBER_TEXT, false },
        { NULL, MEMBER_ANY, false },
};
/* 7.3; what is "any" is read-only, or means nothing here. */
static const struct member put_members[] = {
        { "location", MEMBER_TEXT, true },     { "tags", MEMBER_OBJECT, false },
        { "properties", MEMBER_OBJECT, true }, { "id", MEMBER_ANY, false },
        { "name", MEMBER_ANY, false },         { "type", MEMBER_ANY, false },
        { "identity", MEMBER_OBJECT, false },  { "systemData", MEMBER_ANY, false },
        { NULL, MEMBER_ANY, false },
};
static const struct member patch_members[] = {
        { "tags", MEMBER_OBJECT, false },
        { "properties", MEMBER_OBJECT, false },
        { NULL, MEMBER_ANY, false },
};
/* 7.4 */
static const struct member put_properties[] = {
        { "storageAccountId", MEMBER_TEXT, true },
        { "jobType", MEMBER_TEXT, true },
        { "returnAddress", MEMBER_OBJECT, true },
        { "returnShipping", MEMBER_OBJECT, false },
        { "deliveryPackage", MEMBER_OBJECT, false },
        { "diagnosticsPath", MEMBER_TEXT, false },
        { "logLevel", MEMBER_TEXT, false },
        { "backupDriveManifest", MEMBER_BOOL, false },
        { "driveList", MEMBER_ARRAY, true },
        { "export", MEMBER_OBJECT, false },
        { "encryptionKey", MEMBER_OBJECT, false },
        { "shippingInformation", MEMBER_ANY, false },
        { "returnPackage", MEMBER_ANY, false },
        { "state", MEMBER_ANY, false },
        { "cancelRequested", MEMBER_ANY, false },
        { "percentComplete", MEMBER_ANY, false },
        { "incompleteBlobListUri", MEMBER_ANY, false },
        { "provisioningState", MEMBER_ANY, false },
        { NULL, MEMBER_ANY, false },
};
/* 7.7 */
static const struct member patch_properties[] = {
        { "cancelRequested", MEMBER_BOOL, false },
        { "state", MEMBER_TEXT, false },
        { "returnAddress", MEMBER_OBJECT, false },
        { "returnShipping", MEMBER_OBJECT, false },
        { "deliveryPackage", MEMBER_OBJECT, false },
        { "logLevel", MEMBER_TEXT, false },
        { "backupDriveManifest", MEMBER_BOOL, false },
        { "driveList", MEMBER_ARRAY, false },
        { NULL, MEMBER_ANY, false },
};
/* 7.6 */
static const struct member drive_members[] = {
        { "driveId", MEMBER_TEXT, true },
        { "bitLockerKey", MEMBER_TEXT, false },
        { "manifestFile", MEMBER_TEXT, true },
        { "manifestHash", MEMBER_TEXT, true },
        { "driveHeaderHash", MEMBER_TEXT, false },
        { "state", MEMBER_ANY, false },
        { "copyStatus", MEMBER_ANY, false },
        { "percentComplete", MEMBER_ANY, false },
        { "verboseLogUri", MEMBER_ANY, false },
        { "errorLogUri", MEMBER_ANY, false },
        { "manifestUri", MEMBER_ANY, false },
        { "bytesSucceeded", MEMBER_ANY, false },
        { NULL, MEMBER_ANY, false },
};

/* -- checking against a table
 * ------------------------------------------------------------------------ */

static int bad(struct dmn_rest_fault *f, const char *target, const char *what)
{
        return dmn_rest_fault(f, 400, "InvalidRequestContent", target, "'%s' %s.", target, what);
}

static void join(char out[PATH_MAX_TEXT], const char *path, const char *name)
{
        char escaped[64];

        (void)bth_escape(name, strlen(name), escaped, sizeof escaped);
        (void)snprintf(out, PATH_MAX_TEXT, "%s%s%s", path, path[0] ? "." : "", escaped);
}

static const struct member *find_member(const struct member *members, const char *name)
{
        while (members->name && strcmp(members->name, name) != 0)
                members++;
        return members->name ? members : NULL;
}

static bool is_good_text(const json_t *j)
{
        const char *text = json_string_value(j);
        const size_t n = json_string_length(j);

        if (n > DMN_REST_TEXT_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
                        return false;
        return true;
}

bool dmn_rest_is_address_member(const char *name)
{
        return find_member(address_members, name) != NULL;
}

static int check_kind(const char *target, enum member_kind kind, const json_t *value,
                      struct dmn_rest_fault *f)
{
        switch (kind) {
        case MEMBER_TEXT:
                if (!json_is_string(value))
                        return bad(f, target, "has to be a text");
                return is_good_text(value)
                               ? 0
                               : bad(f, target, "is too long, or has control characters in it");
        case MEMBER_NUMBER:
                return json_is_integer(value) && json_integer_value(value) >= 0
                               ? 0
                               : bad(f, target, "has to be a whole number from 0");
        case MEMBER_BOOL:
                return json_is_boolean(value) ? 0 : bad(f, target, "has to be true or false");
        case MEMBER_OBJECT:
                return json_is_object(value) ? 0 : bad(f, target, "has to be an object");
        case MEMBER_ARRAY:
                return json_is_array(value) ? 0 : bad(f, target, "has to be an array");
        default:
                return 0;
        }
}

/* A member that is null counts as not there. */
static int check_object(const json_t *object, const char *path, const struct member *members,
                        struct dmn_rest_fault *f)
{
        char target[PATH_MAX_TEXT];
        const char *name;
        json_t *value;

        json_object_foreach((json_t *)(uintptr_t)object, name, value)
        {
                const struct member *m = find_member(members, name);
                int r;

                join(target, path, name);
                if (!m)
                        return bad(f, target, "is not known here");
                r = json_is_null(value) ? 0 : check_kind(target, m->kind, value, f);
                if (r < 0)
                        return r;
        }
        for (const struct member *m = members; m->name; m++) {
                const json_t *v = json_object_get(object, m->name);

                join(target, path, m->name);
                if (m->required &&
                    (!v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0)))
                        return bad(f, target, "is required");
        }
        return 0;
}

static const char *text_of(const json_t *object, const char *name)
{
        const char *text = json_string_value(json_object_get(object, name));

        return text && text[0] != '\0' ? text : NULL;
}

/* -- parts
 * -------------------------------------------------------------------------------------------- */

static int take_tags(const json_t *tags, struct dmn_rest_body *b, struct dmn_rest_fault *f)
{
        const char *name;
        json_t *value;

        if (!tags || json_is_null(tags))
                return 0;
        if (json_object_size(tags) > DMN_REST_TAGS_MAX)
                return bad(f, "tags", "has more than 50 members");
        json_object_foreach((json_t *)(uintptr_t)tags, name, value)
        {
                if (strlen(name) > TAG_NAME_MAX || !json_is_string(value) ||
                    json_string_length(value) > TAG_VALUE_MAX)
                        return bad(f, "tags",
                                   "has names of at most 512 and texts of at most 256 bytes");
        }
        b->tags = bth_json_to_text(tags);
        return b->tags ? 0 : -ENOMEM;
}

static int take_personal(const json_t *properties, enum job_personal what,
                         const struct member *members, struct dmn_rest_body *b,
                         struct dmn_rest_fault *f)
{
        const char *name = job_personal_to_string(what);
        const json_t *value = json_object_get(properties, name);
        char path[PATH_MAX_TEXT];
        int r;

        if (!value || json_is_null(value))
                return 0;
        join(path, "properties", name);
        r = check_object(value, path, members, f);
        if (r < 0)
                return r;
        b->personal[what] = bth_json_to_text(value);
        return b->personal[what] ? 0 : -ENOMEM;
}

/* Some shells' examples send "\\\\DriveManifest.xml": two real backslashes mean one. */
static char *one_backslash(const char *text)
{
        char *copy = strdup(text), *to = copy;

        for (const char *from = copy; from && *from; from++)
                if (*from != '\\' || to == copy || to[-1] != '\\')
                        *to++ = *from;
        if (copy)
                *to = '\0';
        return copy;
}

static int take_key(const char *text, const char *path, struct job_draft_drive *d,
                    struct dmn_rest_fault *f)
{
        struct bth_secret *key = NULL;

        if (!text)
                return 0;
        if (strlen(text) > KEY_BYTES_MAX)
                return dmn_rest_fault(f, 400, "InvalidRequestContent", path,
                                      "The BitLocker key of '%s' is too long.", path);
        if (bth_secret_new_copy(text, strlen(text), &key) < 0)
                return -ENOMEM;
        d->key = key;
        return 0;
}

static int take_drive(const json_t *json, size_t i, struct dmn_rest_body *b,
                      struct dmn_rest_fault *f)
{
        struct job_draft_drive *d = &b->drives[i];
        char path[PATH_MAX_TEXT];
        int r;

        (void)snprintf(path, sizeof path, "properties.driveList[%zu]", i);
        r = check_kind(path, MEMBER_OBJECT, json, f);
        if (r == 0)
                r = check_object(json, path, drive_members, f);
        if (r < 0)
                return r;
        b->n_drives = i + 1;
        d->serial = text_of(json, "driveId");
        d->manifest_hash = text_of(json, "manifestHash");
        d->header_hash = json_string_value(json_object_get(json, "driveHeaderHash"));
        d->manifest_file = one_backslash(text_of(json, "manifestFile"));
        return d->manifest_file ? take_key(text_of(json, "bitLockerKey"), path, d, f) : -ENOMEM;
}

static int take_drives(const json_t *list, struct dmn_rest_body *b, struct dmn_rest_fault *f)
{
        const size_t n = json_array_size(list);
        int r = 0;

        if (!list || json_is_null(list))
                return 0;
        if (n == 0 || n > JOB_MAX_DRIVES)
                return dmn_rest_fault(f, 400, "InvalidRequestContent", "properties.driveList",
                                      "A job has 1 to %d drives, not %zu.", JOB_MAX_DRIVES, n);
        b->has_drives = true;
        for (size_t i = 0; i < n && r == 0; i++)
                r = take_drive(json_array_get(list, i), i, b, f);
        return r;
}

static int take_logs(const json_t *properties, struct dmn_rest_body *b, struct dmn_rest_fault *f)
{
        const char *level = text_of(properties, "logLevel");
        const json_t *backup = json_object_get(properties, "backupDriveManifest");

        if (level && bth_ascii_casecmp(level, "Error") != 0 &&
            bth_ascii_casecmp(level, "Verbose") != 0)
                return bad(f, "properties.logLevel", "has to be Error or Verbose");
        if (level)
                b->verbose_log = bth_ascii_casecmp(level, "Verbose") == 0;
        if (json_is_boolean(backup))
                b->backup_manifest = json_is_true(backup);
        return 0;
}

/* What PUT and PATCH have in common. */
static int take_common(const json_t *properties, struct dmn_rest_body *b, struct dmn_rest_fault *f)
{
        int r = take_logs(properties, b, f);

        if (r == 0)
                r = take_personal(properties, JOB_PERSONAL_RETURN_ADDRESS, address_members, b, f);
        if (r == 0)
                r = take_personal(properties, JOB_PERSONAL_RETURN_SHIPPING, shipping_members, b, f);
        if (r == 0)
                r = take_personal(properties, JOB_PERSONAL_DELIVERY_PACKAGE, package_members, b, f);
        if (r == 0)
                r = take_drives(json_object_get(properties, "driveList"), b, f);
        return r;
}

static void begin(struct dmn_rest_body *b)
{
        *b = (struct dmn_rest_body){ .verbose_log = -1, .backup_manifest = -1 };
}

/* -- what only the real service has
 * ------------------------------------------------------------------ */

static int check_key_kind(const json_t *properties, struct dmn_rest_fault *f)
{
        const char *kind = text_of(json_object_get(properties, "encryptionKey"), "kekType");

        if (!kind || bth_ascii_casecmp(kind, "MicrosoftManaged") == 0)
                return 0;
        return dmn_rest_fault(f, 400, "CustomerManagedKeyNotSupported",
                              "properties.encryptionKey.kekType",
                              "Keys in a vault of the customer are not supported here: leave "
                              "encryptionKey out, or set kekType to MicrosoftManaged.");
}

static int check_identity(const json_t *json, struct dmn_rest_fault *f)
{
        const char *type = text_of(json_object_get(json, "identity"), "type");

        return !type || bth_ascii_casecmp(type, "None") == 0
                       ? 0
                       : dmn_rest_fault(f, 400, "IdentityNotSupported", "identity.type",
                                        "Managed identities are not supported here: leave identity "
                                        "out.");
}

static int check_type(const json_t *properties, struct dmn_rest_fault *f)
{
        static const char target[] = "properties.jobType";
        const char *type = text_of(properties, "jobType");
        const json_t *export = json_object_get(properties, "export");

        if (!type)
                return bad(f, target, "is required");
        if (bth_ascii_casecmp(type, "Export") == 0)
                return dmn_rest_fault(f, 400, "JobTypeNotSupported", target,
                                      "This service takes import jobs only.");
        if (bth_ascii_casecmp(type, "Import") != 0)
                return bad(f, target, "has to be Import or Export");
        return export && !json_is_null(export)
                       ? bad(f, "properties.export", "has no place in an import job")
                       : 0;
}

static int check_account_id(const char *id, struct dmn_rest_fault *f)
{
        const char *last = strrchr(id, '/');

        if (id[0] == '/' && last[1] != '\0' &&
            (strcasestr(id, "/providers/Microsoft.Storage/storageAccounts/") ||
             strcasestr(id, "/providers/Microsoft.ClassicStorage/storageAccounts/")))
                return 0;
        return bad(f, "properties.storageAccountId",
                   "has to be the resource id of a storage account");
}

/* -- the whole
 * --------------------------------------------------------------------------------------- */

int dmn_rest_parse_put(const json_t *json, struct dmn_rest_body *ret_body,
                       struct dmn_rest_fault *fault)
{
        const json_t *properties = json_object_get(json, "properties");
        int r;

        begin(ret_body);
        r = check_object(json, "", put_members, fault);
        if (r == 0)
                r = check_kind("properties", MEMBER_OBJECT, properties, fault);
        if (r == 0)
                r = check_type(properties, fault);
        if (r == 0)
                r = check_object(properties, "properties", put_properties, fault);
        if (r == 0)
                r = check_key_kind(properties, fault);
        if (r == 0)
                r = check_identity(json, fault);
        if (r < 0)
                return r;
        ret_body->location = text_of(json, "location");
        ret_body->account = text_of(properties, "storageAccountId");
        ret_body->diagnostics = text_of(properties, "diagnosticsPath");
        r = check_account_id(ret_body->account, fault);
        if (r == 0)
                r = take_tags(json_object_get(json, "tags"), ret_body, fault);
        return r == 0 ? take_common(properties, ret_body, fault) : r;
}

/* 7.7: only Shipping and only true mean something; an empty state and null say nothing. */
static int take_acts(const json_t *properties, struct dmn_rest_body *b, struct dmn_rest_fault *f)
{
        const char *state = text_of(properties, "state");
        const json_t *cancel = json_object_get(properties, "cancelRequested");

        if (state && strcmp(state, "Shipping") != 0)
                return bad(f, "properties.state", "can only be set to Shipping");
        if (json_is_false(cancel))
                return bad(f, "properties.cancelRequested", "can only be set to true");
        b->ship = state != NULL;
        b->cancel = json_is_true(cancel);
        return 0;
}

int dmn_rest_parse_patch(const json_t *json, struct dmn_rest_body *ret_body,
                         struct dmn_rest_fault *fault)
{
        const json_t *properties = json_object_get(json, "properties");
        int r;

        begin(ret_body);
        r = check_object(json, "", patch_members, fault);
        if (r == 0)
                r = take_tags(json_object_get(json, "tags"), ret_body, fault);
        if (r < 0 || !json_is_object(properties))
                return r;
        r = check_object(properties, "properties", patch_properties, fault);
        if (r == 0)
                r = take_acts(properties, ret_body, fault);
        return r == 0 ? take_common(properties, ret_body, fault) : r;
}

int dmn_rest_windows(const struct dmn_rest_body *b, const struct job_model *m,
                     struct dmn_rest_fault *fault)
{
        const struct {
                bool asked;
                enum job_property property;
                const char *target;
        } windows[] = {
                { b->tags, JOB_PROPERTY_TAGS, "tags" },
                { b->personal[JOB_PERSONAL_RETURN_ADDRESS], JOB_PROPERTY_RETURN,
                  "properties.returnAddress" },
                { b->personal[JOB_PERSONAL_RETURN_SHIPPING], JOB_PROPERTY_RETURN,
                  "properties.returnShipping" },
                { b->personal[JOB_PERSONAL_DELIVERY_PACKAGE], JOB_PROPERTY_DELIVERY,
                  "properties.deliveryPackage" },
                { b->verbose_log >= 0, JOB_PROPERTY_LOGS, "properties.logLevel" },
                { b->backup_manifest >= 0, JOB_PROPERTY_LOGS, "properties.backupDriveManifest" },
                { b->has_drives, JOB_PROPERTY_DRIVES, "properties.driveList" },
                { b->ship, JOB_PROPERTY_STATE, "properties.state" },
                { b->cancel, JOB_PROPERTY_CANCEL, "properties.cancelRequested" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(windows); i++)
                if (windows[i].asked && !job_may_change(m, windows[i].property))
                        return dmn_rest_fault(fault, 409, "OperationNotAllowed", windows[i].target,
                                              "'%s' cannot be changed while the job is %s.",
                                              windows[i].target, bth_job_state_to_string(m->state));
        return 0;
}

void dmn_rest_body_clear(struct dmn_rest_body *b)
{
        for (size_t i = 0; i < b->n_drives; i++) {
                (void)bth_secret_free((struct bth_secret *)(uintptr_t)b->drives[i].key);
                free((char *)(uintptr_t)b->drives[i].manifest_file);
        }
        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                free(b->personal[i]);
        free(b->tags);
        begin(b);
}
