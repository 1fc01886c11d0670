/* libsrtp called directly: for each line with the name of a suite, one line with the nanoseconds that protecting and
 * unprotecting a packet of 20 ms of G.711 takes. What it does, crates/media/examples/srtp_cost.rs does too. */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PACKETS = 1000, ROUNDS = 20, LEN = 12 + 160, ROOM = 256 };

static unsigned char packets[PACKETS][ROOM];
static int lengths[PACKETS];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void check(srtp_err_status_t status, const char *doing) {
    if (status != srtp_err_status_ok) {
        fprintf(stderr, "libsrtp: error %d, %s\n", status, doing);
        exit(1);
    }
}

static int set_suite(srtp_policy_t *policy, const char *suite) {
    if (!strcmp(suite, "AES_CM_128_HMAC_SHA1_80")) {
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtp);
    } else if (!strcmp(suite, "AES_CM_128_HMAC_SHA1_32")) {
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&policy->rtp);
    } else if (!strcmp(suite, "AES_256_CM_HMAC_SHA1_80")) {
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&policy->rtp);
    } else if (!strcmp(suite, "AES_256_CM_HMAC_SHA1_32")) {
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(&policy->rtp);
    } else if (!strcmp(suite, "AEAD_AES_128_GCM")) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtp);
    } else if (!strcmp(suite, "AEAD_AES_256_GCM")) {
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtp);
    } else {
        return 0;
    }
    policy->rtcp = policy->rtp;
    return 1;
}

int main(void) {
    char suite[64];
    unsigned char key[64];
    memset(key, 1, sizeof key);
    check(srtp_init(), "starting");
    while (scanf("%63s", suite) == 1) {
        srtp_policy_t policy;
        memset(&policy, 0, sizeof policy);
        if (!set_suite(&policy, suite)) return 1;
        policy.key = key;
        policy.window_size = 128;
        srtp_t sender, receiver;
        policy.ssrc.type = ssrc_any_outbound;
        check(srtp_create(&sender, &policy), "making the sender");
        policy.ssrc.type = ssrc_any_inbound;
        check(srtp_create(&receiver, &policy), "making the receiver");
        double protect = 0, unprotect = 0;
        unsigned short seq = 0;
        for (int round = 0; round < ROUNDS; round++) {
            for (int n = 0; n < PACKETS; n++) {
                memset(packets[n], 0x55, LEN);
                memset(packets[n], 0, 12);
                packets[n][0] = 0x80;
                packets[n][2] = seq >> 8;
                packets[n][3] = seq & 0xff;
                packets[n][11] = 7;
                lengths[n] = LEN;
                seq++;
            }
            double start = now();
            for (int n = 0; n < PACKETS; n++) check(srtp_protect(sender, packets[n], &lengths[n]), "protecting");
            double half = now();
            for (int n = 0; n < PACKETS; n++) check(srtp_unprotect(receiver, packets[n], &lengths[n]), "unprotecting");
            double end = now();
            protect += half - start;
            unprotect += end - half;
        }
        printf("%.1f %.1f\n", protect / (PACKETS * ROUNDS), unprotect / (PACKETS * ROUNDS));
        fflush(stdout);
        srtp_dealloc(sender);
        srtp_dealloc(receiver);
    }
    return 0;
}
