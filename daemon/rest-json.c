/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-json - what clients get: see rest-json.h. */
#include "daemon/rest-json.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"

#define PROVIDER    "Microsoft.ImportExport"
#define DIAGNOSTICS "waimportexport"
#define BLOB_HOST   "blob.core.windows.net"

static void set(json_t *object, const char *name, json_t *value)
{
        (void)json_object_set_new(object, name, value);
}

static void set_text(json_t *object, const char *name, const char *text)
{
        if (text)
                set(object, name, json_string(text));
}

static void set_time(json_t *object, const char *name, uint64_t usec)
{
        char text[BTH_TIME_TEXT_MAX];

        if (usec > 0)
                set_text(object, name, bth_time_iso8601(usec, text));
}

/* What was stored as JSON text; left out when it is none. */
static void set_parsed(json_t *object, const char *name, const char *text)
{
        json_t *value = NULL;

        if (text && bth_json_parse(text, strlen(text), &value, NULL) == 0)
                set(object, name, value);
}

/* An empty object stands for what a job service above knows and a station is not told. */
static void set_personal(json_t *object, enum job_personal what, const char *text)
{
        if (!bth_streq(text, "{}"))
                set_parsed(object, job_personal_to_string(what), text);
}

void dmn_rest_more_clear(struct dmn_rest_more *m)
{
        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                free(m->personal[i]);
        free(m->created_by);
        free(m->modified_by);
        *m = (struct dmn_rest_more){ 0 };
}

/* -- a job
 * ------------------------------------------------------------------------------------------- */

static json_t *drive_json(const struct job_record *r, size_t i)
{
        const struct job_record_drive *d = &r->drives[i];
        const struct job_drive *m = &r->model.drives[i];
        json_t *j = json_pack("{s:s,s:s,s:I,s:I}", "driveId", d->serial, "state",
                              bth_drive_state_to_string(m->state), "percentComplete",
                              (json_int_t)job_drive_percent(m), "bytesSucceeded",
                              (json_int_t)m->bytes_done);

        set_text(j, "manifestFile", d->manifest_file);
        set_text(j, "manifestHash", d->manifest_hash);
        set_text(j, "driveHeaderHash", d->header_hash);
        set_text(j, "copyStatus", job_drive_copy_status(m));
        set_text(j, "errorLogUri", d->error_log);
        set_text(j, "verboseLogUri", d->verbose_log);
        set_text(j, "manifestUri", d->manifest_log);
        return j;
}

static json_t *properties_json(const struct job_record *r, const struct dmn_rest_more *more,
                               enum dmn_rest_version version)
{
        const struct job_model *m = &r->model;
        json_t *j = json_pack(
                "{s:s,s:s,s:s,s:b,s:s,s:b,s:I,s:s}", "jobType", "Import", "diagnosticsPath",
                r->diagnostics ? r->diagnostics : DIAGNOSTICS, "logLevel",
                r->verbose_log ? "Verbose" : "Error", "backupDriveManifest", r->backup_manifest,
                "state", bth_job_state_to_string(m->state), "cancelRequested", m->cancel_requested,
                "percentComplete", (json_int_t)job_percent(m), "provisioningState", "Succeeded");
        json_t *drives = json_array();

        set_text(j, "storageAccountId", r->account);
        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                set_personal(j, (enum job_personal)i, more->personal[i]);
        for (size_t i = 0; i < m->n_drives; i++)
                (void)json_array_append_new(drives, drive_json(r, i));
        set(j, "driveList", drives);
        if (version >= DMN_REST_2020_08_01)
                set(j, "encryptionKey", json_pack("{s:s}", "kekType", "MicrosoftManaged"));
        return j;
}

static json_t *system_json(const struct dmn_rest_more *more)
{
        json_t *j = json_object();

        set_text(j, "createdBy", more->created_by ? more->created_by : "berth");
        set_text(j, "createdByType", "Application");
        set_time(j, "createdAt", more->created_usec);
        set_text(j, "lastModifiedBy", more->modified_by ? more->modified_by : "berth");
        set_text(j, "lastModifiedByType", "Application");
        set_time(j, "lastModifiedAt", more->modified_usec);
        return j;
}

json_t *dmn_rest_job(const struct job_record *r, const struct dmn_rest_more *more,
                     enum dmn_rest_version version)
{
        _cleanup_free_ char *id = NULL;
        json_t *j;

        if (asprintf(&id, "%s/providers/" PROVIDER "/jobs/%s", r->scope, r->name) < 0) {
                id = NULL;
                return NULL;
        }
        j = json_pack("{s:s,s:s,s:s,s:o}", "id", id, "name", r->name, "type", PROVIDER "/jobs",
                      "properties", properties_json(r, more, version));
        if (!j)
                return NULL;
        set_text(j, "location", r->location);
        set_parsed(j, "tags", r->tags);
        if (version >= DMN_REST_2020_08_01)
                set(j, "identity", json_pack("{s:s}", "type", "None"));
        if (version != DMN_REST_2020_08_01 && more->created_usec > 0)
                set(j, "systemData", system_json(more));
        return j;
}

/* -- what the configuration adds
 * --------------------------------------------------------------------- */

/* 7.9: a location that has others as its alternates, and not itself, is closed. */
static const struct dmn_location_config *open_location(const struct dmn_config *c,
                                                       const struct dmn_location_config *l)
{
        _cleanup_free_ char *names = strdup(l->alternates ? l->alternates : "");
        const struct dmn_location_config *first = NULL;
        char *save = NULL, *name = names ? strtok_r(names, " ", &save) : NULL;

        for (; name; name = strtok_r(NULL, " ", &save)) {
                const struct dmn_location_config *other = dmn_config_location(c, name);

                if (other == l)
                        return l;
                first = first ? first : other;
        }
        return first ? first : l;
}

static json_t *address_json(const struct dmn_location_config *l)
{
        const struct {
                const char *name, *text;
        } members[] = {
                { "recipientName", l->recipient }, { "streetAddress1", l->street1 },
                { "streetAddress2", l->street2 },  { "city", l->city },
                { "stateOrProvince", l->state },   { "postalCode", l->postal_code },
                { "countryOrRegion", l->country }, { "phone", l->phone },
        };
        json_t *j = json_object();

        for (size_t i = 0; i < ARRAY_SIZE(members); i++)
                set_text(j, members[i].name, members[i].text ? members[i].text : "");
        return j;
}

static void make_uri(json_t *drive, const char *name, const struct dmn_account_config *a)
{
        const char *place = json_string_value(json_object_get(drive, name));
        _cleanup_free_ char *uri = NULL;
        int r;

        if (!place || !a)
                return;
        if (a->endpoint)
                r = asprintf(&uri, "%s%s%s", a->endpoint,
                             bth_ends_with(a->endpoint, "/") ? "" : "/", place);
        else
                r = asprintf(&uri, "https://%s." BLOB_HOST "/%s", a->name, place);
        if (r < 0)
                uri = NULL;
        set_text(drive, name, uri);
}

void dmn_rest_job_finish(json_t *job, const struct dmn_config *c)
{
        json_t *properties = json_object_get(job, "properties"), *drive, *address;
        const char *location = json_string_value(json_object_get(job, "location"));
        const struct dmn_location_config *l = location ? dmn_config_location(c, location) : NULL;
        const char *account = json_string_value(json_object_get(properties, "storageAccountId"));
        const struct dmn_account_config *a = account ? dmn_config_account(c, account) : NULL;
        size_t i;

        if (l) {
                l = open_location(c, l);
                address = address_json(l);
                set_text(address, "additionalInformation", l->additional);
                set(properties, "shippingInformation", address);
        }
        json_array_foreach(json_object_get(properties, "driveList"), i, drive)
        {
                make_uri(drive, "errorLogUri", a);
                make_uri(drive, "verboseLogUri", a);
                make_uri(drive, "manifestUri", a);
        }
}

/* -- locations, operations
 * --------------------------------------------------------------------------- */

static json_t *location_id(const struct dmn_location_config *l)
{
        return json_sprintf("/providers/" PROVIDER "/locations/%s", l->name);
}

static json_t *carriers_json(const char *text)
{
        json_t *list = json_array();

        while (text && *text) {
                size_t n = strcspn(text, ","), skip = strspn(text, " "), end;

                for (end = n; end > skip && text[end - 1] == ' ';)
                        end--;
                if (end > skip)
                        (void)json_array_append_new(list, json_stringn(text + skip, end - skip));
                text += n + (text[n] == ',');
        }
        return list;
}

static json_t *alternates_json(const struct dmn_config *c, const struct dmn_location_config *l)
{
        _cleanup_free_ char *names = strdup(l->alternates ? l->alternates : l->name);
        char *save = NULL, *name = names ? strtok_r(names, " ", &save) : NULL;
        json_t *list = json_array();

        for (; name; name = strtok_r(NULL, " ", &save)) {
                const struct dmn_location_config *other = dmn_config_location(c, name);

                if (other)
                        (void)json_array_append_new(list, location_id(other));
        }
        return list;
}

json_t *dmn_rest_location(const struct dmn_config *c, const struct dmn_location_config *l)
{
        json_t *properties = address_json(l);

        set_text(properties, "additionalShippingInformation", l->additional);
        set(properties, "supportedCarriers", carriers_json(l->carriers));
        set(properties, "alternateLocations", alternates_json(c, l));
        return json_pack("{s:o,s:s,s:s,s:o}", "id", location_id(l), "name",
                         l->title ? l->title : l->name, "type", PROVIDER "/locations", "properties",
                         properties);
}

json_t *dmn_rest_operations(void)
{
        static const struct {
                const char *name, *resource, *operation, *description;
        } list[] = {
                { "jobs/write", "Jobs", "Create or update a job", "Creates or updates a job." },
                { "jobs/read", "Jobs", "Get or list jobs", "Gets a job or lists jobs." },
                { "jobs/delete", "Jobs", "Delete a job", "Deletes a job." },
                { "jobs/listBitLockerKeys/action", "Jobs", "Get the BitLocker keys of a job",
                  "Gets the BitLocker keys of a job's drives." },
                { "locations/read", "Locations", "Get or list locations",
                  "Gets a location or lists locations." },
                { "operations/read", "Operations", "List operations", "Lists the operations." },
        };
        json_t *value = json_array();

        for (size_t i = 0; i < ARRAY_SIZE(list); i++)
                (void)json_array_append_new(
                        value,
                        json_pack("{s:o,s:{s:s,s:s,s:s,s:s}}", "name",
                                  json_sprintf(PROVIDER "/%s", list[i].name), "display", "provider",
                                  "Import/Export", "resource", list[i].resource, "operation",
                                  list[i].operation, "description", list[i].description));
        return json_pack("{s:o}", "value", value);
}
