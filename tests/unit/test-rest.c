/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The job service's paths, filters, bodies and answers, each against what the specification says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/str.h"
#include "daemon/listen.h"
#include "daemon/rest-json.h"

#define SUB   "/subscriptions/0000-01"
#define GROUP SUB "/resourceGroups/rg-a"
#define JOBS  "/providers/Microsoft.ImportExport/jobs"
#define V     "?api-version=2021-01-01"
#define KEY   "122221-244442-366663-488884-611105-013574-660000-720885"
#define ADDRESS                                                                  \
        "{'recipientName':'A','streetAddress1':'B','city':'C','postalCode':'D'," \
        "'countryOrRegion':'E','phone':'F','email':'G'}"
#define DRIVE(id)                                                                  \
        "{'driveId':'" id "','bitLockerKey':'" KEY "','manifestFile':'\\\\\\\\m'," \
        "'manifestHash':'0123456789ABCDEF0123456789ABCDEF','driveHeaderHash':''}"
#define ACCOUNT    "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a"
#define PROPERTIES "'storageAccountId':'" ACCOUNT "','jobType':'Import','returnAddress':" ADDRESS

static const char *const operation_names[_DMN_REST_OPERATION_MAX] = {
#define X(id, method, right, action) #id,
        DMN_REST_OPERATIONS(X)
#undef X
};

static void test_routes(void **state)
{
        static const struct {
                const char *method, *target;
                enum dmn_rest_operation operation;
                const char *scope, *name;
        } good[] = {
                { "GET", "/providers/Microsoft.ImportExport/operations" V, DMN_REST_OPERATIONS_LIST,
                  NULL, NULL },
                { "GET", "/providers/Microsoft.ImportExport/locations/" V, DMN_REST_LOCATIONS_LIST,
                  NULL, NULL },
                { "GET", "/PROVIDERS/microsoft.importexport/Locations/West%20US" V,
                  DMN_REST_LOCATION_GET, NULL, "West US" },
                { "GET", SUB JOBS V, DMN_REST_JOBS_LIST, SUB, NULL },
                { "GET", GROUP JOBS V, DMN_REST_JOBS_LIST, GROUP, NULL },
                { "GET", GROUP JOBS "/A.b-1" V, DMN_REST_JOB_GET, GROUP, "A.b-1" },
                { "PUT", GROUP JOBS "/a" V, DMN_REST_JOB_PUT, GROUP, "a" },
                { "PATCH", GROUP JOBS "/a" V, DMN_REST_JOB_PATCH, GROUP, "a" },
                { "DELETE", GROUP JOBS "/a" V, DMN_REST_JOB_DELETE, GROUP, "a" },
                { "POST", GROUP JOBS "/a/listbitlockerkeys" V, DMN_REST_JOB_KEYS, GROUP, "a" },
        };
        static const struct {
                const char *method, *target, *code;
                unsigned status;
        } bad[] = {
                { "GET", "/", "ResourceNotFound", 404 },
                { "GET", SUB JOBS "/a" V, "ResourceNotFound", 404 },
                { "GET", GROUP JOBS "/a/b" V, "ResourceNotFound", 404 },
                { "GET", GROUP JOBS "/a/listBitLockerKeys/x" V, "ResourceNotFound", 404 },
                { "GET", GROUP "/providers/Microsoft.Compute/jobs" V, "ResourceNotFound", 404 },
                { "GET", "/subscriptions/a%2Fb" JOBS V, "InvalidSubscriptionId", 400 },
                { "GET", SUB "/resourceGroups/a%20b" JOBS V, "InvalidResourceGroup", 400 },
                { "GET", SUB "/resourceGroups/a." JOBS V, "InvalidResourceGroup", 400 },
                { "GET", GROUP JOBS "/a/listBitLockerKeys" V, "MethodNotAllowed", 405 },
                { "DELETE", GROUP JOBS V, "MethodNotAllowed", 405 },
                { "GET", GROUP JOBS "/%00" V, "InvalidRequestUri", 400 },
                { "GET", GROUP JOBS, "MissingApiVersionParameter", 400 },
                { "GET", GROUP JOBS "?api-version=2021-01-02", "InvalidApiVersionParameter", 400 },
                { "GET", GROUP JOBS V "&$top=0", "InvalidQueryParameterValue", 400 },
                { "GET", GROUP JOBS V "&$skiptoken=x", "InvalidQueryParameterValue", 400 },
                { "GET", GROUP JOBS V "&$top=1&$top=2", "InvalidRequestUri", 400 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                struct dmn_rest_fault f = { 0 };
                struct dmn_rest_route r;

                if (dmn_rest_route_parse(good[i].method, good[i].target, &r, &f) < 0)
                        fail_msg("%s: %s", good[i].target, f.message);
                assert_int_equal(r.operation, good[i].operation);
                assert_int_equal(r.version, DMN_REST_2021_01_01);
                assert_int_equal(r.top, DMN_REST_TOP_MAX);
                assert_string_equal(r.scope ? r.scope : "", good[i].scope ? good[i].scope : "");
                assert_string_equal(r.name ? r.name : "", good[i].name ? good[i].name : "");
                dmn_rest_route_clear(&r);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct dmn_rest_fault f = { 0 };
                struct dmn_rest_route r;

                assert_int_equal(dmn_rest_route_parse(bad[i].method, bad[i].target, &r, &f),
                                 -EINVAL);
                if (strcmp(f.code, bad[i].code) != 0 || f.status != bad[i].status)
                        fail_msg("%s: %u %s", bad[i].target, f.status, f.code);
                dmn_rest_route_clear(&r);
        }
}

static void test_rights(void **state)
{
        (void)state;
        assert_int_equal(dmn_rest_right(DMN_REST_JOB_GET), DMN_RIGHT_READ);
        assert_int_equal(dmn_rest_right(DMN_REST_JOB_PUT), DMN_RIGHT_OPERATE);
        assert_int_equal(dmn_rest_right(DMN_REST_JOB_KEYS), DMN_RIGHT_ADMIN);
        assert_int_equal(dmn_rest_right(_DMN_REST_OPERATION_INVALID), DMN_RIGHT_ADMIN);
}

static void test_filters(void **state)
{
        static const char *const bad[] = {
                "state",
                "state eq",
                "state eq 'Lost'",
                "type eq 'Both'",
                "state eq 'x",
                "trackingnumber eq ''",
                "stateeq 'Closed'",
                "type eq 'Import' or state eq 'Closed'",
                "type eq 'Import' and",
                "type eq 'Import' type eq 'Import'",
        };
        struct dmn_rest_filter f;
        struct dmn_rest_fault fault;

        (void)state;
        assert_int_equal(dmn_rest_filter_parse(" type  eq 'import' AND state eq 'Received' "
                                               "and trackingnumber eq 'it''s'",
                                               &f, &fault),
                         0);
        assert_int_equal(f.is_export, 0);
        assert_int_equal(f.state, BTH_JOB_STATE_RECEIVED);
        assert_string_equal(f.tracking, "it's");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (dmn_rest_filter_parse(bad[i], &f, &fault) != -EINVAL)
                        fail_msg("taken: %s", bad[i]);
}

/* JSON with ' for ". */
static json_t *load(const char *text)
{
        char *copy = strdup(text);
        json_t *json = NULL;

        assert_non_null(copy);
        for (char *c = copy; *c; c++)
                *c = *c == '\'' ? '"' : *c;
        if (bth_json_parse(copy, strlen(copy), &json, NULL) < 0)
                fail_msg("no JSON: %s", copy);
        free(copy);
        return json;
}

static void test_put(void **state)
{
        json_t *json =
                load("{'location':'West US','tags':{'a':'b'},'id':1,'properties':{" PROPERTIES
                     ",'logLevel':'verbose','backupDriveManifest':true,'state':'Closed',"
                     "'driveList':[" DRIVE("S1") "," DRIVE("S 2") "]}}");
        struct dmn_rest_fault f = { 0 };
        struct dmn_rest_body b;

        (void)state;
        if (dmn_rest_parse_put(json, &b, &f) < 0)
                fail_msg("%s", f.message);
        assert_string_equal(b.location, "West US");
        assert_string_equal(b.account, ACCOUNT);
        assert_string_equal(b.tags, "{\"a\":\"b\"}");
        assert_int_equal(b.verbose_log, 1);
        assert_int_equal(b.backup_manifest, 1);
        assert_non_null(b.personal[JOB_PERSONAL_RETURN_ADDRESS]);
        assert_null(b.personal[JOB_PERSONAL_RETURN_SHIPPING]);
        assert_int_equal(b.n_drives, 2);
        assert_string_equal(b.drives[1].serial, "S 2");
        assert_string_equal(b.drives[0].manifest_file, "\\m"); /* two backslashes mean one */
        assert_string_equal((const char *)b.drives[0].key->data, KEY);
        assert_false(b.ship || b.cancel);
        dmn_rest_body_clear(&b);
        json_decref(json);
}

static void test_bad_bodies(void **state)
{
        static const struct {
                const char *text, *target;
                bool patch;
        } bad[] = {
                { "{}", "location", false },
                { "{'location':'x','properties':null}", "properties", false },
                { "{'location':'x','properties':3}", "properties", false },
                { "{'location':'a\\nb','properties':{}}", "location", false },
                { "{'location':'x','properties':{" PROPERTIES "}}", "properties.driveList", false },
                { "{'location':'x','properties':{" PROPERTIES ",'driveList':[1]}}",
                  "properties.driveList[0]", false },
                { "{'location':'x','properties':{" PROPERTIES ",'driveList':[" DRIVE("S") ",{}]}}",
                  "properties.driveList[1].driveId", false },
                { "{'location':'x','properties':{" PROPERTIES
                  ",'export':{},'driveList':[" DRIVE("S") "]}}",
                  "properties.export", false },
                { "{'location':'x','identity':{'type':'SystemAssigned'},'properties':{" PROPERTIES
                  ",'driveList':[" DRIVE("S") "]}}",
                  "identity.type", false },
                { "{'properties':{'state':'Received'}}", "properties.state", true },
                { "{'properties':{'cancelRequested':'true'}}", "properties.cancelRequested", true },
                { "{'properties':{'deliveryPackage':{'carrierName':'x'}}}",
                  "properties.deliveryPackage.trackingNumber", true },
                { "{'properties':{'deliveryPackage':{'carrierName':'x','trackingNumber':'y',"
                  "'driveCount':-1}}}",
                  "properties.deliveryPackage.driveCount", true },
                { "{'properties':{'jobType':'Import'}}", "properties.jobType", true },
                { "{'location':'x'}", "location", true },
                { "{'tags':{'a':1}}", "tags", true },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                json_t *json = load(bad[i].text);
                struct dmn_rest_fault f = { 0 };
                struct dmn_rest_body b;
                int r = bad[i].patch ? dmn_rest_parse_patch(json, &b, &f)
                                     : dmn_rest_parse_put(json, &b, &f);

                if (r != -EINVAL || strcmp(f.target, bad[i].target) != 0)
                        fail_msg("%s: %d, %s: %s", bad[i].text, r, f.target, f.message);
                assert_null(strstr(f.message, KEY));
                dmn_rest_body_clear(&b);
                json_decref(json);
        }
}

/* 6.3 as a table: what may be changed in which state. */
static void test_windows(void **state)
{
        static const struct {
                const char *text;
                const char *open; /* a letter per state: Creating … Closed */
        } windows[] = {
                { "{'tags':{}}", "xxxxxxx" },
                { "{'properties':{'state':'Shipping'}}", "x------" },
                { "{'properties':{'cancelRequested':true}}", "xxxx---" },
                { "{'properties':{'returnAddress':" ADDRESS "}}", "xxxx---" },
                { "{'properties':{'returnShipping':{'carrierName':'a',"
                  "'carrierAccountNumber':'b'}}}",
                  "xxxx---" },
                { "{'properties':{'deliveryPackage':{'carrierName':'a','trackingNumber':'b'}}}",
                  "xx-----" },
                { "{'properties':{'logLevel':'Error'}}", "xxxx---" },
                { "{'properties':{'backupDriveManifest':true}}", "xxxx---" },
                { "{'properties':{'driveList':[" DRIVE("S") "]}}", "x------" },
                { "{'properties':{'state':''}}", "xxxxxxx" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
                json_t *json = load(windows[i].text);
                struct dmn_rest_fault f = { 0 };
                struct dmn_rest_body b;

                if (dmn_rest_parse_patch(json, &b, &f) < 0)
                        fail_msg("%s: %s", windows[i].text, f.message);
                for (int s = 0; s < (int)strlen(windows[i].open); s++) {
                        const struct job_model m = { .state = (enum bth_job_state)s };
                        const int r = dmn_rest_windows(&b, &m, &f);

                        if ((r == 0) != (windows[i].open[s] == 'x'))
                                fail_msg("%s in %s: %d", windows[i].text,
                                         bth_job_state_to_string(m.state), r);
                }
                dmn_rest_body_clear(&b);
                json_decref(json);
        }
}

static const char *text_at(const json_t *json, const char *a, const char *b)
{
        json = json_object_get(json, a);
        return json_string_value(b ? json_object_get(json, b) : json);
}

static void test_job(void **state)
{
        static const char config[] = "[account a]\ncredential = key\ncredential_file = /k\n"
                                     "[location closed]\nalternates = open\n"
                                     "[location open]\ncity = Quincy\n";
        struct job_record r = {
                .id = 1,
                .scope = (char *)(uintptr_t)GROUP,
                .name = (char *)(uintptr_t) "J",
                .account = (char *)(uintptr_t)ACCOUNT,
                .location = (char *)(uintptr_t) "closed",
                .tags = (char *)(uintptr_t) "{\"x\":\"y\"}",
                .model = { .n_drives = 1 },
                .drives = { { .serial = (char *)(uintptr_t) "S1",
                              .has_key = true,
                              .error_log = (char *)(uintptr_t) "logs/e.xml" } },
        };
        struct dmn_rest_more more = {
                .personal = { [JOB_PERSONAL_DELIVERY_PACKAGE] =
                                      (char *)(uintptr_t) "{\"trackingNumber\":\"T\"}",
                              [JOB_PERSONAL_RETURN_ADDRESS] = (char *)(uintptr_t) "{}" },
                .created_usec = UINT64_C(1900000000000000),
        };
        struct dmn_config *c = NULL;
        json_t *j, *p, *drive;

        (void)state;
        assert_int_equal(dmn_config_parse(config, strlen(config), "c", &c, NULL), 0);
        j = dmn_rest_job(&r, &more, DMN_REST_2021_01_01);
        dmn_rest_job_finish(j, c);
        p = json_object_get(j, "properties");
        drive = json_array_get(json_object_get(p, "driveList"), 0);
        assert_string_equal(text_at(j, "id", NULL), GROUP JOBS "/J");
        assert_string_equal(text_at(j, "tags", "x"), "y");
        assert_string_equal(text_at(p, "state", NULL), "Creating");
        assert_string_equal(text_at(p, "deliveryPackage", "trackingNumber"), "T");
        /* What only the service above knows. */
        assert_null(json_object_get(p, "returnAddress"));
        /* A closed location sends on to another one. */
        assert_string_equal(text_at(p, "shippingInformation", "city"), "Quincy");
        assert_string_equal(text_at(drive, "errorLogUri", NULL),
                            "https://a.blob.core.windows.net/logs/e.xml");
        assert_null(json_object_get(drive, "copyStatus"));
        assert_null(json_object_get(drive, "bitLockerKey"));
        assert_string_equal(text_at(j, "systemData", "createdAt"), "2030-03-17T17:46:40.000000Z");
        json_decref(j);
        j = dmn_rest_job(&r, &more, DMN_REST_2020_08_01);
        assert_null(json_object_get(j, "systemData"));
        assert_non_null(json_object_get(j, "identity"));
        json_decref(j);
        (void)dmn_config_free(c);
}

/* docs/openapi-importexport.json: each path and method leads to the operation that it names, with
 * its right, a method that is not described to none, and each operation is described. */
static void check_described(const char *path, const json_t *methods, unsigned *described)
{
        static const char *const all[] = { "GET", "PUT", "PATCH", "POST", "DELETE", "HEAD" };
        char target[512], *out = target;

        for (const char *at = path; *at; at++) {
                *out++ = *at == '{' ? 'x' : *at;
                if (*at == '{')
                        at = strchr(at, '}');
        }
        memcpy(out, V, sizeof V);
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                struct dmn_rest_fault f = { 0 };
                struct dmn_rest_route r;
                int k = dmn_rest_route_parse(all[i], target, &r, &f);
                char method[8] = "";
                const json_t *o;
                const char *name, *right;

                for (size_t c = 0; all[i][c]; c++)
                        method[c] = (char)(all[i][c] + ('a' - 'A'));
                o = json_object_get(methods, method);
                name = json_string_value(json_object_get(o, "x-operation"));
                right = json_string_value(json_object_get(o, "x-right"));
                if (!o && (k == 0 || f.status != 405))
                        fail_msg("%s %s is not described", all[i], target);
                if (o && (k < 0 || !bth_streq(name, operation_names[r.operation]) ||
                          !bth_streq(right, dmn_right_to_string(dmn_rest_right(r.operation)))))
                        fail_msg("%s %s is not as described: %s", all[i], target, f.message);
                if (o)
                        described[r.operation]++;
                dmn_rest_route_clear(&r);
        }
}

static void test_description(void **state)
{
        const char *source = getenv("BERTH_SOURCE"), *path;
        unsigned described[_DMN_REST_OPERATION_MAX] = { 0 };
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        json_t *versions, *methods;
        char file[4096];
        size_t n;

        (void)state;
        if (!source)
                skip();
        (void)snprintf(file, sizeof file, "%s/docs/openapi-importexport.json", source);
        assert_int_equal(bth_read_file(file, 1 << 20, &text, &n), 0);
        assert_int_equal(bth_json_parse(text, n, &j, NULL), 0);
        json_object_foreach(json_object_get(j, "paths"), path, methods)
                check_described(path, methods, described);
        for (size_t i = 0; i < ARRAY_SIZE(described); i++)
                if (described[i] != (i == DMN_REST_JOBS_LIST ? 2 : 1))
                        fail_msg("%s is described %u times", operation_names[i], described[i]);
        versions = json_object_get(json_object_get(j, "components"), "parameters");
        versions = json_object_get(json_object_get(json_object_get(versions, "version"), "schema"),
                                   "enum");
        assert_int_equal(json_array_size(versions), _DMN_REST_VERSION_MAX);
        for (size_t i = 0; i < _DMN_REST_VERSION_MAX; i++)
                assert_string_equal(json_string_value(json_array_get(versions, i)),
                                    dmn_rest_version_to_string((enum dmn_rest_version)i));
}

static void test_addresses(void **state)
{
        struct sockaddr_storage a;

        (void)state;
        assert_int_equal(dmn_listen_parse("127.0.0.1:8443", &a), sizeof(struct sockaddr_in));
        assert_int_equal(a.ss_family, AF_INET);
        assert_int_equal(dmn_listen_parse("[::]:0", &a), sizeof(struct sockaddr_in6));
        assert_int_equal(dmn_listen_parse("[::1]:65536", &a), -EINVAL);
        assert_int_equal(dmn_listen_parse("localhost:1", &a), -EINVAL);
        assert_int_equal(dmn_listen_parse("8443", &a), -EINVAL);
        assert_int_equal(dmn_listen_parse(":1", &a), -EINVAL);
        assert_int_equal(dmn_listen_parse("::1:8443", &a), -EINVAL);
        assert_int_equal(dmn_listen_parse("127.0.0.1:-1", &a), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_routes),      cmocka_unit_test(test_rights),
                cmocka_unit_test(test_filters),     cmocka_unit_test(test_put),
                cmocka_unit_test(test_bad_bodies),  cmocka_unit_test(test_windows),
                cmocka_unit_test(test_job),         cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_description),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
