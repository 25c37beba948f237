/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages between station and worker: through a socket and back, and what is refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/order.h"

static char *text(const char *s)
{
        char *copy = strdup(s);

        assert_non_null(copy);
        return copy;
}

static struct bth_secret *secret(const char *s)
{
        struct bth_secret *copy;

        assert_int_equal(bth_secret_new_copy(s, strlen(s), &copy), 0);
        return copy;
}

static void make_order(struct bth_message *m)
{
        *m = (struct bth_message){ .type = BTH_MESSAGE_ORDER };
        m->order = (struct bth_order){
                .drive_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC),
                .state_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                .job = text("job \xc3\xa4"),
                .drive_id = text("QX7"),
                .manifest_path = text("\\DriveManifest.xml"),
                .manifest_hash = text("0123456789ABCDEF0123456789ABCDEF"),
                .bitlocker_key = secret("1-2-3"),
                .account = text("devstoreaccount1"),
                .credential_kind = text("key"),
                .credential = secret("c2VjcmV0"),
                .default_disposition = BTH_DISPOSITION_NO_OVERWRITE,
                .verify = BTH_VERIFY_READBACK,
                .verbose_log = true,
                .memory_bytes = 64 << 20,
                .max_in_flight = 12,
        };
}

/* Through a real socket, since descriptors travel in no other way. */
static void pass(struct bth_frame *f, struct bth_frame **ret)
{
        struct bth_frame_reader *reader;
        int sockets[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        assert_int_equal(bth_frame_send(sockets[0], f), 0);
        assert_int_equal(bth_frame_reader_new(sockets[1], &reader), 0);
        assert_int_equal(bth_frame_read(reader, ret), 1);
        (void)bth_frame_reader_free(reader);
        (void)close(sockets[0]);
        (void)close(sockets[1]);
}

static void test_order(void **state)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL, *got = NULL;
        _cleanup_message_ struct bth_message m, back;
        struct bth_error error = BTH_ERROR_INIT;

        (void)state;
        make_order(&m);
        assert_int_equal(bth_message_to_frame(&m, &f), 0);
        pass(f, &got);
        assert_int_equal(bth_message_from_frame(got, &back, &error), 0);
        assert_int_equal(back.type, BTH_MESSAGE_ORDER);
        assert_string_equal(back.order.job, m.order.job);
        assert_string_equal(back.order.manifest_path, m.order.manifest_path);
        assert_true(bth_secret_equal(back.order.bitlocker_key, m.order.bitlocker_key));
        assert_true(bth_secret_equal(back.order.credential, m.order.credential));
        assert_int_equal(back.order.default_disposition, BTH_DISPOSITION_NO_OVERWRITE);
        assert_int_equal(back.order.verify, BTH_VERIFY_READBACK);
        assert_true(back.order.verbose_log);
        assert_false(back.order.manifest_backup);
        assert_int_equal(back.order.memory_bytes, 64 << 20);
        assert_int_equal(back.order.max_in_flight, 12);
        assert_null(back.order.endpoint);
        assert_true(fcntl(back.order.drive_fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(back.order.state_fd, F_GETFD) & FD_CLOEXEC);
        assert_int_not_equal(back.order.drive_fd, m.order.drive_fd);
}

static void expect_refused(struct bth_frame *f, const char *word)
{
        struct bth_message m = { .type = BTH_MESSAGE_STOP };
        struct bth_error error = BTH_ERROR_INIT;

        assert_int_equal(bth_message_from_frame(f, &m, &error), -EBADMSG);
        if (!strstr(error.sentence, word))
                fail_msg("'%s' does not name '%s'", error.sentence, word);
}

static void test_refused(void **state)
{
        static const struct {
                uint16_t type, tag;
                const char *value;
                size_t n;
                const char *word;
        } cases[] = {
                { 99, 1, "x", 1, "unknown type" },
                { BTH_MESSAGE_CREDENTIAL, 7, "x", 1, "credential" }, /* missing */
                { BTH_MESSAGE_CREDENTIAL, 1, "", 0, "out of bounds" },
                { BTH_MESSAGE_BANDWIDTH, 1, "1234", 4, "malformed" },
                { BTH_MESSAGE_ACTIVITY, 1, "dancing", 7, "activity" },
                { BTH_MESSAGE_ACTIVITY, 1, "starting\0", 9, "malformed" },
                { BTH_MESSAGE_ACTIVITY, 1, "\xff\xfe", 2, "malformed" },
                { BTH_MESSAGE_SANDBOX, 1, "\2\0\0\0\0\0\0\0", 8, "out of bounds" },
                { BTH_MESSAGE_RESULT, 1, "", 0, "result.end" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;

                assert_int_equal(bth_frame_new(cases[i].type, &f), 0);
                assert_int_equal(bth_frame_add_bytes(f, cases[i].tag, cases[i].value, cases[i].n),
                                 0);
                expect_refused(f, cases[i].word);
        }
}

/* Too long a text, a number out of its bounds, no descriptors. */
static void test_bounds(void **state)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL, *bare = NULL, *beyond = NULL;
        _cleanup_message_ struct bth_message m;
        char *long_text;

        (void)state;
        make_order(&m);
        m.order.max_in_flight = 1 << 20;
        assert_int_equal(bth_message_to_frame(&m, &f), -EINVAL);
        m.order.max_in_flight = 0;
        m.order.memory_bytes = 1;
        assert_int_equal(bth_message_to_frame(&m, &f), -EINVAL);
        m.order.memory_bytes = 0;
        long_text = malloc(BTH_ORDER_TEXT_MAX + 2);
        memset(long_text, 'a', BTH_ORDER_TEXT_MAX + 1);
        long_text[BTH_ORDER_TEXT_MAX + 1] = '\0';
        m.order.endpoint = long_text;
        assert_int_equal(bth_message_to_frame(&m, &f), -EINVAL);
        long_text[BTH_ORDER_TEXT_MAX] = '\0';
        assert_int_equal(bth_message_to_frame(&m, &f), 0);

        /* A secret has bounds of its own. */
        assert_int_equal(bth_frame_new(BTH_MESSAGE_CREDENTIAL, &bare), 0);
        assert_int_equal(bth_frame_add_bytes(bare, 1, long_text, BTH_ORDER_SECRET_MAX), 0);
        {
                _cleanup_message_ struct bth_message back = { .type = BTH_MESSAGE_STOP };
                struct bth_error error = BTH_ERROR_INIT;

                assert_int_equal(bth_message_from_frame(bare, &back, &error), 0);
                assert_int_equal(back.credential.credential->length_bytes, BTH_ORDER_SECRET_MAX);
        }
        assert_int_equal(bth_frame_new(BTH_MESSAGE_CREDENTIAL, &beyond), 0);
        assert_int_equal(bth_frame_add_bytes(beyond, 1, long_text, BTH_ORDER_SECRET_MAX + 1), 0);
        expect_refused(beyond, "out of bounds");
}

static void test_order_without_descriptors(void **state)
{
        _cleanup_(bth_frame_freep) struct bth_frame *bare = NULL;
        _cleanup_message_ struct bth_message m;
        static const uint16_t texts[] = { 1, 2, 3, 4, 7, 10 };

        (void)state;
        make_order(&m);
        assert_int_equal(bth_frame_new(BTH_MESSAGE_ORDER, &bare), 0);
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                assert_int_equal(bth_frame_add_string(bare, texts[i], "x"), 0);
        assert_int_equal(bth_frame_add_string(bare, 17, "rename"), 0);
        assert_int_equal(bth_frame_add_string(bare, 18, "full"), 0);
        expect_refused(bare, "without the drive");
        assert_int_equal(bth_frame_add_fd(bare, m.order.drive_fd), 0);
        expect_refused(bare, "without its folder");
}

static void test_result(void **state)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;
        _cleanup_message_ struct bth_message m = { .type = BTH_MESSAGE_RESULT };
        _cleanup_message_ struct bth_message back = { .type = BTH_MESSAGE_STOP };
        struct bth_error error = BTH_ERROR_INIT;

        (void)state;
        m.result = (struct bth_result_report){
                .end = BTH_RUN_END_DRIVE_GONE,
                .sentence = text("the drive was pulled"),
                .failed = 3,
                .bytes = UINT64_MAX,
        };
        assert_int_equal(bth_message_to_frame(&m, &f), 0);
        assert_int_equal(bth_message_from_frame(f, &back, &error), 0);
        assert_int_equal(back.result.end, BTH_RUN_END_DRIVE_GONE);
        assert_null(back.result.copy_status);
        assert_string_equal(back.result.sentence, "the drive was pulled");
        assert_int_equal(back.result.failed, 3);
        assert_true(back.result.bytes == UINT64_MAX);
}

static void test_words(void **state)
{
        (void)state;
        for (int i = 0; i < _BTH_ACTIVITY_MAX; i++) {
                const char *name = bth_activity_to_string((enum bth_activity)i);

                assert_int_equal(bth_activity_from_string(name), i);
                assert_true(*bth_activity_sentence((enum bth_activity)i) != '\0');
        }
        for (int i = 0; i < _BTH_RUN_END_MAX; i++) {
                const char *name = bth_run_end_to_string((enum bth_run_end)i);

                assert_int_equal(bth_run_end_from_string(name), i);
                assert_true(*bth_run_end_sentence((enum bth_run_end)i) != '\0');
        }
        assert_null(bth_verify_to_string(_BTH_VERIFY_MAX));
        assert_int_equal(bth_verify_from_string(NULL), _BTH_VERIFY_INVALID);
        assert_int_equal(bth_activity_from_string("none"), _BTH_ACTIVITY_INVALID);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order),  cmocka_unit_test(test_refused),
                cmocka_unit_test(test_bounds), cmocka_unit_test(test_order_without_descriptors),
                cmocka_unit_test(test_result), cmocka_unit_test(test_words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
