/* SPDX-License-Identifier: GPL-3.0-or-later */
/* words - the tables behind the enums of words.h. */
#include "base/str.h"
#include "jobs/words.h"

int job_word_find(const struct job_word *words, size_t n, const char *name)
{
        for (size_t i = 0; name && i < n; i++)
                if (bth_streq(words[i].name, name))
                        return (int)i;
        return -EINVAL;
}

#define WORD_LED(id, name, led, sentence) { name, sentence },

JOB_DEFINE_WORDS(job_input_kind, JOB_INPUTS, JOB_WORD);
JOB_DEFINE_WORDS(job_led, JOB_LEDS, JOB_WORD);
JOB_DEFINE_WORDS(job_activity, JOB_ACTIVITIES, WORD_LED);
JOB_DEFINE_WORDS(job_refusal, JOB_REFUSALS, JOB_WORD);
JOB_DEFINE_WORDS(job_alert, JOB_ALERTS, JOB_WORD);
JOB_DEFINE_WORDS(job_change_kind, JOB_CHANGES, JOB_WORD);

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
