/* SPDX-License-Identifier: GPL-3.0-or-later */
/* words - the tables behind the enums of words.h. */
#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "jobs/words.h"

struct word {
        const char *name;
        const char *sentence;
};

static int find_word(const struct word *words, size_t n, const char *name)
{
        for (size_t i = 0; name && i < n; i++)
                if (bth_streq(words[i].name, name))
                        return (int)i;
        return -EINVAL;
}

#define WORD(id, name, sentence)          { name, sentence },
#define WORD_LED(id, name, led, sentence) { name, sentence },

#define DEFINE_WORDS(type, LIST, ROW)                                                        \
        static const struct word type##_words[] = { LIST(ROW) };                             \
        const char *type##_to_string(enum type v)                                            \
        {                                                                                    \
                return (size_t)v < ARRAY_SIZE(type##_words) ? type##_words[v].name : NULL;   \
        }                                                                                    \
        enum type type##_from_string(const char *name)                                       \
        {                                                                                    \
                return (enum type)find_word(type##_words, ARRAY_SIZE(type##_words), name);   \
        }                                                                                    \
        const char *type##_sentence(enum type v)                                             \
        {                                                                                    \
                return (size_t)v < ARRAY_SIZE(type##_words) ? type##_words[v].sentence : ""; \
        }                                                                                    \
        struct bth_swallow_semicolon

DEFINE_WORDS(job_input_kind, JOB_INPUTS, WORD);
DEFINE_WORDS(job_led, JOB_LEDS, WORD);
DEFINE_WORDS(job_activity, JOB_ACTIVITIES, WORD_LED);
DEFINE_WORDS(job_refusal, JOB_REFUSALS, WORD);
DEFINE_WORDS(job_alert, JOB_ALERTS, WORD);
DEFINE_WORDS(job_change_kind, JOB_CHANGES, WORD);

enum job_led job_activity_led(enum job_activity a)
{
        static const enum job_led leds[] = {
#define X(id, name, led, sentence) JOB_LED_##led,
                JOB_ACTIVITIES(X)
#undef X
        };

        return (size_t)a < ARRAY_SIZE(leds) ? leds[a] : JOB_LED_OFF;
}

enum job_activity job_activity_of_worker(enum bth_activity a)
{
        static const enum job_activity same[] = {
                [BTH_ACTIVITY_STARTING] = JOB_ACTIVITY_STARTING,
                [BTH_ACTIVITY_UNLOCKING] = JOB_ACTIVITY_UNLOCKING,
                [BTH_ACTIVITY_READING_MANIFEST] = JOB_ACTIVITY_READING_MANIFEST,
                [BTH_ACTIVITY_SCANNING] = JOB_ACTIVITY_SCANNING,
                [BTH_ACTIVITY_TRANSFERRING] = JOB_ACTIVITY_TRANSFERRING,
                [BTH_ACTIVITY_PAUSED_CREDENTIALS] = JOB_ACTIVITY_PAUSED_CREDENTIALS,
                [BTH_ACTIVITY_WAITING_NETWORK] = JOB_ACTIVITY_WAITING_NETWORK,
                [BTH_ACTIVITY_WAITING_THROTTLED] = JOB_ACTIVITY_WAITING_THROTTLED,
                [BTH_ACTIVITY_WAITING_DISK] = JOB_ACTIVITY_WAITING_DISK,
                [BTH_ACTIVITY_WRITING_LOGS] = JOB_ACTIVITY_WRITING_LOGS,
                [BTH_ACTIVITY_STOPPING] = JOB_ACTIVITY_STOPPING,
        };
        _Static_assert(ARRAY_SIZE(same) == _BTH_ACTIVITY_MAX, "a word of the worker is missing");

        return (size_t)a < ARRAY_SIZE(same) ? same[a] : JOB_ACTIVITY_STARTING;
}
