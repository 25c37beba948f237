/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every operation of the client against a live blob server, which blob-live.py starts and
 * afterwards looks into with the official client. BERTH_ENDPOINT, BERTH_ACCOUNT,
 * BERTH_CREDENTIAL_KIND, BERTH_CREDENTIAL_FILE, BERTH_CA_FILE BERTH_SUITE  operations | faults |
 * lost | pause */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/guid.h"
#include "base/io.h"
#include "base/time.h"
#include "crypto/crc64.h"
#include "uploader/blob.h"
#include "uploader/budget.h"
#include "uploader/client.h"

#define CONTAINER "live"

static struct upl_client *client;
static struct upl_credential *credential;
static struct upl_budget *budget;

static const char *need(const char *name)
{
        const char *value = getenv(name);

        if (!value) {
                (void)fprintf(stderr, "%s is not set; start blob-live.py\n", name);
                exit(77);
        }
        return value;
}

static int setup(void **state)
{
        const char *ca = getenv("BERTH_CA_FILE");
        struct upl_http_options http = { .ca_file = ca && ca[0] ? ca : NULL,
                                         .stall_timeout_sec = 2 };
        struct upl_client_options o = {
                .retry = { 20000, 200000, 60 * BTH_USEC_PER_SEC, 300000 },
                .start_in_flight = 4,
        };
        struct bth_secret *secret = NULL;

        assert_int_equal(upl_endpoint_parse(need("BERTH_ENDPOINT"), true, &o.endpoint, NULL), 0);
        assert_int_equal(
                bth_secret_new_from_file(need("BERTH_CREDENTIAL_FILE"), 65536, true, &secret), 0);
        assert_int_equal(
                upl_credential_new(upl_credential_kind_from_string(need("BERTH_CREDENTIAL_KIND")),
                                   need("BERTH_ACCOUNT"), secret, &credential, NULL),
                0);
        (void)bth_secret_free(secret);
        assert_int_equal(upl_budget_new(1 << 20, &budget), 0);
        assert_int_equal(upl_http_curl_new(&http, &o.http), 0);
        o.credential = credential;
        o.waits = budget;
        assert_int_equal(upl_client_new(&o, &client), 0);
        upl_endpoint_clear(&o.endpoint);
        return 0;
}

static int teardown(void **state)
{
        client = upl_client_free(client);
        credential = upl_credential_free(credential);
        budget = upl_budget_free(budget);
        return 0;
}

/* Runs a built call and expects its outcome. */
static void run(struct upl_call *call, int built, int expected)
{
        struct bth_error error = BTH_ERROR_INIT;
        char text[1500];
        int r;

        assert_int_equal(built, 0);
        r = upl_client_call(client, call, &error);
        if (r != expected)
                (void)fprintf(stderr, "%s\n", bth_error_to_string(&error, text, sizeof text));
        assert_int_equal(r, expected);
}

static void md5_of(const void *data, size_t n, uint8_t *md5)
{
        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, data, n, md5), 0);
}

static void put_text(const char *container, const char *blob, const char *text, int expected)
{
        struct upl_target t = { .container = container, .blob = blob };
        _cleanup_call_ struct upl_call call = { 0 };
        uint8_t md5[16];

        md5_of(text, strlen(text), md5);
        run(&call,
            upl_put_blob(&call.request, &t, text, strlen(text), (struct upl_checksum){ md5, NULL },
                         NULL),
            expected);
        if (expected == 0)
                assert_true(upl_checksum_echoed(call.answer, (struct upl_checksum){ md5, NULL }));
}

static void test_container(void **state)
{
        _cleanup_call_ struct upl_call create = { 0 }, again = { 0 };

        run(&create, upl_create_container(&create.request, CONTAINER), 0);
        run(&again, upl_create_container(&again.request, CONTAINER), -EEXIST);
        assert_string_equal(again.code, "ContainerAlreadyExists");
}

/* No backslash: the service itself makes it a slash. */
static const char *const hard_names[] = {
        "plain",
        "a%20b",
        "100%",
        "q?x=1&y#z",
        "dots...",
        "a/../b",
        "x//y",
        "./here",
        "dir/.",
        "trail/",
        "gr\xc3\xbc\xc3\x9f \xe6\xbc\xa2",
        "plus+amp&eq=",
        "semi;colon:at@",
        "'quote'\"two\"",
        "[br]{ace}|^~`",
        "%2e%2e/%2F",
        "...",
        "a/..b/c..",
};

static void test_names_round_trip(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(hard_names); i++)
                put_text(CONTAINER, hard_names[i], hard_names[i], 0);
        for (size_t i = 0; i < ARRAY_SIZE(hard_names); i++) {
                struct upl_target t = { .container = CONTAINER, .blob = hard_names[i] };
                _cleanup_call_ struct upl_call call = { 0 };

                run(&call, upl_get_blob(&call.request, &t, 0, 0, false), 0);
                assert_int_equal(call.content->length, strlen(hard_names[i]));
                assert_memory_equal(call.content->data, hard_names[i], call.content->length);
        }
}

static void test_listing_tells_the_names_back(void **state)
{
        char *marker = NULL;
        size_t n = 0, found = 0;

        do {
                _cleanup_call_ struct upl_call call = { 0 };
                struct upl_blob_items items;

                run(&call, upl_list_blobs(&call.request, CONTAINER, NULL, marker, false, 5), 0);
                assert_int_equal(
                        upl_answer_blobs(call.content->data, call.content->length, &items, NULL),
                        0);
                n += items.n;
                for (size_t i = 0; i < items.n; i++)
                        for (size_t k = 0; k < ARRAY_SIZE(hard_names); k++)
                                found += strcmp(items.items[i].name, hard_names[k]) == 0;
                free(marker);
                marker = take_ptr(items.next_marker);
                upl_blob_items_clear(&items);
        } while (marker);
        assert_int_equal(n, ARRAY_SIZE(hard_names));
        assert_int_equal(found, ARRAY_SIZE(hard_names));
}

static void test_root_container(void **state)
{
        _cleanup_call_ struct upl_call create = { 0 };

        run(&create, upl_create_container(&create.request, "$root"), 0);
        put_text("$root", "at-the-root.txt", "root", 0);
}

static void test_crc64_is_echoed(void **state)
{
        struct upl_target t = { .container = CONTAINER, .blob = "checked" };
        uint64_t crc = cry_crc64(0, "123456789", 9), wrong = crc + 1;
        _cleanup_call_ struct upl_call call = { 0 };

        run(&call,
            upl_put_block(&call.request, &t, "AAAA", "123456789", 9,
                          (struct upl_checksum){ NULL, &crc }),
            0);
        assert_true(upl_checksum_echoed(call.answer, (struct upl_checksum){ NULL, &crc }));
        assert_false(upl_checksum_echoed(call.answer, (struct upl_checksum){ NULL, &wrong }));
}

static void make_block_id(unsigned i, char *id)
{
        uint8_t raw[3] = { 'b', (uint8_t)(i >> 8), (uint8_t)i };

        (void)bth_base64_encode(raw, sizeof raw, id);
}

static void test_blocks(void **state)
{
        enum { N = 5, BYTES = 70001 };
        struct upl_target t = { .container = CONTAINER, .blob = "blocks" };
        struct upl_target first = { .container = CONTAINER,
                                    .blob = "blocks",
                                    .if_none_match = "*" };
        _cleanup_free_ char *data = malloc(N * BYTES);
        _cleanup_call_ struct upl_call list = { 0 }, commit = { 0 }, again = { 0 }, all = { 0 },
                                       look = { 0 };
        char ids[N][8];
        const char *order[N];
        struct upl_remote_blocks blocks;
        struct upl_blob_look seen;
        struct med_metadata_item item = { (char *)"drive", (char *)"QX7" };
        struct med_metadata metadata = { &item, 1 };
        uint8_t md5[16];
        struct upl_attributes a = { .metadata = &metadata,
                                    .content_type = "text/x-test",
                                    .md5 = md5 };

        assert_non_null(data);
        for (size_t i = 0; i < (size_t)N * BYTES; i++)
                data[i] = (char)(i * 31 + i / 977);
        for (unsigned i = 0; i < N; i++) {
                _cleanup_call_ struct upl_call put = { 0 };

                make_block_id(i, ids[i]);
                order[i] = ids[i];
                md5_of(data + i * BYTES, BYTES, md5);
                run(&put,
                    upl_put_block(&put.request, &t, ids[i], data + i * BYTES, BYTES,
                                  (struct upl_checksum){ md5, NULL }),
                    0);
        }
        run(&list, upl_get_block_list(&list.request, &t, false, true), 0);
        assert_int_equal(upl_answer_blocks(list.content->data, list.content->length, &blocks, NULL),
                         0);
        assert_int_equal(blocks.n, N);
        assert_false(blocks.items[0].committed);
        assert_int_equal(blocks.items[0].length_bytes, BYTES);
        upl_remote_blocks_clear(&blocks);
        md5_of(data, (size_t)N * BYTES, md5);
        run(&commit, upl_put_block_list(&commit.request, &first, order, N, &a), 0);
        run(&again, upl_put_block_list(&again.request, &first, order, N, &a), -EEXIST);
        run(&all, upl_get_block_list(&all.request, &t, true, true), 0);
        assert_int_equal(upl_answer_blocks(all.content->data, all.content->length, &blocks, NULL),
                         0);
        assert_int_equal(blocks.n, N);
        for (unsigned i = 0; i < N; i++) {
                assert_true(blocks.items[i].committed);
                assert_string_equal(blocks.items[i].id, ids[i]);
        }
        upl_remote_blocks_clear(&blocks);
        run(&look, upl_get_properties(&look.request, &t), 0);
        assert_int_equal(upl_blob_look(look.answer, &seen), 0);
        assert_int_equal(seen.length_bytes, N * BYTES);
        assert_true(seen.has_md5);
        assert_memory_equal(seen.md5, md5, 16);
        assert_string_equal(upl_headers_get(look.answer, "x-ms-meta-drive"), "QX7");
        assert_string_equal(upl_headers_get(look.answer, "Content-Type"), "text/x-test");
}

static void test_pages(void **state)
{
        struct upl_target t = { .container = CONTAINER, .blob = "pages.vhd" };
        _cleanup_call_ struct upl_call create = { 0 }, put = { 0 }, clear = { 0 }, list = { 0 },
                                       get = { 0 };
        struct upl_page_ranges ranges;
        uint8_t data[2048], md5[16];

        memset(data, 0x5a, sizeof data);
        md5_of(data, sizeof data, md5);
        run(&create, upl_create_page_blob(&create.request, &t, 8192, NULL), 0);
        run(&put,
            upl_put_pages(&put.request, &t, 1024, data, sizeof data,
                          (struct upl_checksum){ md5, NULL }),
            0);
        run(&clear, upl_clear_pages(&clear.request, &t, 1536, 512), 0);
        run(&list, upl_get_page_ranges(&list.request, &t), 0);
        assert_int_equal(
                upl_answer_page_ranges(list.content->data, list.content->length, &ranges, NULL), 0);
        assert_int_equal(ranges.n, 2);
        assert_int_equal(ranges.items[0].offset_bytes, 1024);
        assert_int_equal(ranges.items[0].length_bytes, 512);
        assert_int_equal(ranges.items[1].offset_bytes, 2048);
        assert_int_equal(ranges.items[1].length_bytes, 1024);
        upl_page_ranges_clear(&ranges);
        run(&get, upl_get_blob(&get.request, &t, 1024, 512, true), 0);
        assert_int_equal(get.content->length, 512);
        assert_memory_equal(get.content->data, data, 512);
}

static void test_conditions_and_leases(void **state)
{
        char id[BTH_GUID_TEXT_MAX];
        struct upl_target t = { .container = CONTAINER, .blob = "leased" };
        struct upl_target with = t, wrong = t;
        _cleanup_call_ struct upl_call acquire = { 0 }, twice = { 0 }, denied = { 0 },
                                       allowed = { 0 }, renew = { 0 }, release = { 0 },
                                       stale = { 0 }, broken = { 0 };
        struct bth_guid guid;

        assert_int_equal(bth_guid_random(&guid), 0);
        with.lease_id = bth_guid_to_string(&guid, id);
        wrong.if_match = "\"0x0\"";
        put_text(CONTAINER, "leased", "one", 0);
        run(&acquire, upl_lease_acquire(&acquire.request, &t, id, 15), 0);
        run(&twice, upl_lease_acquire(&twice.request, &t, id, 15), 0);
        run(&denied, upl_put_blob(&denied.request, &t, "2", 1, (struct upl_checksum){ 0 }, NULL),
            -EBUSY);
        assert_string_equal(denied.code, "LeaseIdMissing");
        run(&allowed,
            upl_put_blob(&allowed.request, &with, "two", 3, (struct upl_checksum){ 0 }, NULL), 0);
        run(&renew, upl_lease_renew(&renew.request, &with), 0);
        run(&release, upl_lease_release(&release.request, &with), 0);
        run(&stale, upl_put_blob(&stale.request, &wrong, "3", 1, (struct upl_checksum){ 0 }, NULL),
            -ESTALE);
        run(&broken, upl_lease_break(&broken.request, &t), -EPROTO);
        assert_string_equal(broken.code, "LeaseNotPresentWithLeaseOperation");
}

static void test_metadata_snapshot_delete(void **state)
{
        struct upl_target t = { .container = CONTAINER, .blob = "side" };
        struct med_metadata_item item = { (char *)"empty", (char *)"" };
        struct med_metadata metadata = { &item, 1 };
        struct upl_attributes a = { .content_type = "application/x-y" };
        _cleanup_call_ struct upl_call set = { 0 }, properties = { 0 }, look = { 0 }, snap = { 0 },
                                       gone = { 0 }, missing = { 0 };

        put_text(CONTAINER, "side", "car", 0);
        run(&set, upl_set_metadata(&set.request, &t, &metadata), 0);
        run(&properties, upl_set_properties(&properties.request, &t, &a), 0);
        run(&look, upl_get_properties(&look.request, &t), 0);
        assert_string_equal(upl_headers_get(look.answer, "Content-Type"), "application/x-y");
        run(&snap, upl_snapshot(&snap.request, &t), 0);
        assert_non_null(upl_headers_get(snap.answer, "x-ms-snapshot"));
        run(&gone, upl_delete_blob(&gone.request, &t, true), 0);
        run(&missing, upl_get_properties(&missing.request, &t), -ENOENT);
}

/* --- through the fault proxy: every call must come out right all the same --- */

static void test_calls_survive_faults(void **state)
{
        enum { N = 40 };
        struct upl_client_state s;

        for (unsigned i = 0; i < N; i++) {
                char name[32], text[64];

                (void)snprintf(name, sizeof name, "fault-%u", i);
                (void)snprintf(text, sizeof text, "the text of number %u, longer than a byte", i);
                put_text(CONTAINER, name, text, 0);
        }
        for (unsigned i = 0; i < N; i++) {
                char name[32], text[64];
                struct upl_target t = { .container = CONTAINER, .blob = name };
                _cleanup_call_ struct upl_call call = { 0 };

                (void)snprintf(name, sizeof name, "fault-%u", i);
                (void)snprintf(text, sizeof text, "the text of number %u, longer than a byte", i);
                run(&call, upl_get_blob(&call.request, &t, 0, 0, false), 0);
                assert_int_equal(call.content->length, strlen(text));
                assert_memory_equal(call.content->data, text, strlen(text));
        }
        upl_client_look(client, &s);
        (void)printf("# requests %llu retries %llu throttled %llu refused %llu\n",
                     (unsigned long long)s.requests, (unsigned long long)s.retries,
                     (unsigned long long)s.throttled, (unsigned long long)s.refused);
        assert_true(s.retries > 0);
        assert_int_equal(s.in_flight + s.queued + s.waiting_retry + s.waiting_credentials, 0);
}

/* A lost answer to a conditional write: the second attempt sees its own blob, and says that it may
 * be. */
static void test_lost_answer_is_told(void **state)
{
        struct upl_target t = { .container = CONTAINER, .blob = "lost", .if_none_match = "*" };
        _cleanup_call_ struct upl_call call = { 0 };

        run(&call, upl_put_blob(&call.request, &t, "x", 1, (struct upl_checksum){ 0 }, NULL),
            -EEXIST);
        assert_true(call.sent_before);
        assert_int_equal(call.attempts, 2);
}

static void on_done(struct upl_call *call)
{
        *(volatile bool *)call->userdata = true;
}

static void test_new_credential_goes_on(void **state)
{
        struct upl_target t = { .container = CONTAINER, .blob = "paused" };
        _cleanup_(bth_secret_freep) struct bth_secret *right = NULL, *wrong = NULL;
        _cleanup_call_ struct upl_call call = { 0 };
        volatile bool finished = false;
        struct upl_client_state s;

        assert_int_equal(bth_secret_new_copy("AAAA", 4, &wrong), 0);
        assert_int_equal(
                bth_secret_new_from_file(need("BERTH_CREDENTIAL_FILE"), 65536, true, &right), 0);
        assert_int_equal(upl_credential_renew(credential, wrong, NULL), 0);
        assert_int_equal(
                upl_put_blob(&call.request, &t, "later", 5, (struct upl_checksum){ 0 }, NULL), 0);
        call.done = on_done;
        call.userdata = (void *)(uintptr_t)&finished;
        assert_int_equal(upl_client_start(client, &call), 0);
        do {
                (void)usleep(1000);
                upl_client_look(client, &s);
        } while (s.refused < 2 || s.waiting_credentials != 1);
        assert_false(finished);
        assert_int_equal(upl_credential_renew(credential, right, NULL), 0);
        upl_client_kick(client);
        while (!finished)
                (void)usleep(1000);
        assert_int_equal(call.result, 0);
}

/* While calls queue, more go at once than at first; one that is throttled halves it. What the
 * numbers should be is test-pace's matter. */
static void test_limit_follows_the_service(void **state)
{
        enum { N = 40, FIRST = 4 };
        struct upl_target t = { .container = CONTAINER, .blob = "slow" };
        struct upl_call calls[N] = { 0 };
        volatile bool finished[N] = { false };
        struct upl_client_state s;
        unsigned most = 0, before;
        size_t n_finished = 0;

        put_text(CONTAINER, "slow", "text", 0);
        upl_client_look(client, &s);
        assert_int_equal(s.limit, FIRST);
        for (size_t i = 0; i < N; i++) {
                assert_int_equal(upl_get_properties(&calls[i].request, &t), 0);
                calls[i].done = on_done;
                calls[i].userdata = (void *)(uintptr_t)&finished[i];
                assert_int_equal(upl_client_start(client, &calls[i]), 0);
        }
        while (n_finished < N) {
                (void)usleep(1000);
                upl_client_look(client, &s);
                most = MAX(most, s.in_flight);
                n_finished = 0;
                for (size_t i = 0; i < N; i++)
                        n_finished += finished[i];
        }
        for (size_t i = 0; i < N; i++) {
                assert_int_equal(calls[i].result, 0);
                upl_call_clear(&calls[i]);
        }
        assert_true(most > FIRST);
        upl_client_look(client, &s);
        before = s.limit;
        put_text(CONTAINER, "busy", "text", 0);
        upl_client_look(client, &s);
        assert_int_equal(s.throttled, 1);
        assert_true(s.limit < before);
}

int main(void)
{
        const struct CMUnitTest operations[] = {
                cmocka_unit_test(test_container),
                cmocka_unit_test(test_names_round_trip),
                cmocka_unit_test(test_listing_tells_the_names_back),
                cmocka_unit_test(test_root_container),
                cmocka_unit_test(test_crc64_is_echoed),
                cmocka_unit_test(test_blocks),
                cmocka_unit_test(test_pages),
                cmocka_unit_test(test_conditions_and_leases),
                cmocka_unit_test(test_metadata_snapshot_delete),
        };
        const struct CMUnitTest faults[] = { cmocka_unit_test(test_calls_survive_faults) };
        const struct CMUnitTest lost[] = { cmocka_unit_test(test_lost_answer_is_told) };
        const struct CMUnitTest pause[] = { cmocka_unit_test(test_new_credential_goes_on) };
        const struct CMUnitTest limit[] = { cmocka_unit_test(test_limit_follows_the_service) };
        const char *suite = need("BERTH_SUITE");

        if (strcmp(suite, "operations") == 0)
                return cmocka_run_group_tests(operations, setup, teardown);
        if (strcmp(suite, "faults") == 0)
                return cmocka_run_group_tests(faults, setup, teardown);
        if (strcmp(suite, "limit") == 0)
                return cmocka_run_group_tests(limit, setup, teardown);
        if (strcmp(suite, "lost") == 0)
                return cmocka_run_group_tests(lost, setup, teardown);
        return cmocka_run_group_tests(pause, setup, teardown);
}
