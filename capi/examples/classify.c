/* Classifies a picture: classify MODEL.onnx PICTURE [--labels FILE] [--backend auto|gpu|cpu] [PROPERTY=VALUE ...]
 *
 * PICTURE is a JPEG or a PNG. PROPERTY=VALUE says how the model wants it, where the likely way is not it:
 *     classify squeezenet1.0.onnx cat.jpg --labels imagenet_1000.txt channels=bgr scale=1 mean=104,117,123 std=1 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rimlight.h"

enum { LABELS = 4096, TOP = 5 };

/* Ends the program with what went wrong, unless nothing did. */
static void check(RimlightStatus status) {
    if (status != RIMLIGHT_STATUS_OK) {
        fprintf(stderr, "classify: %s (%s)\n", rimlight_error_text(), rimlight_status_name(status));
        exit(2);
    }
}

static void wrong_use(const char *what) {
    fprintf(stderr, "classify: %s\nclassify MODEL.onnx PICTURE [--labels FILE] [--backend auto|gpu|cpu] [PROPERTY=VALUE ...]\n", what);
    exit(2);
}

/* The lines of a file, in one block of memory that the caller frees; how many there are. */
static size_t read_labels(const char *path, char *lines[LABELS], char **memory) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "classify: cannot read '%s'\n", path);
        exit(2);
    }
    const size_t most = 1 << 20;
    *memory = malloc(most + 1);
    size_t length = *memory ? fread(*memory, 1, most, file) : 0;
    fclose(file);
    size_t count = 0;
    if (length > 0) {
        (*memory)[length] = 0;
        for (char *line = strtok(*memory, "\r\n"); line && count < LABELS; line = strtok(NULL, "\r\n"))
            lines[count++] = line;
    }
    return count;
}

int main(int argc, char **argv) {
    const char *model_file = NULL, *picture = NULL, *labels = NULL, *backend = "auto";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--labels") == 0 || strcmp(argv[i], "--backend") == 0) {
            if (i + 1 == argc) wrong_use("an option without its value");
            *(argv[i][2] == 'l' ? &labels : &backend) = argv[i + 1];
            i++;
        } else if (!strchr(argv[i], '=')) {
            if (picture) wrong_use("one model and one picture, please");
            *(model_file ? &picture : &model_file) = argv[i];
        }
    }
    if (!picture) wrong_use("give a model and a picture");
    if (rimlight_abi_version() != RIMLIGHT_ABI_VERSION) wrong_use("header and library are of different versions");

    static const char *const backends[] = {"auto", "gpu", "cpu"}; /* As they stand in RimlightBackend. */
    int32_t asked = 0;
    while (asked < 3 && strcmp(backend, backends[asked]) != 0) asked++;
    if (asked == 3) wrong_use("the backend is auto, gpu or cpu");
    RimlightOptions *options = NULL;
    check(rimlight_options_new(&options));
    check(rimlight_options_set_backend(options, asked));
    RimlightModel *model = NULL;
    RimlightSession *session = NULL;
    check(rimlight_model_open(model_file, &model));
    check(rimlight_session_new(model, NULL, options, &session));
    /* The session has what it needs of them. */
    rimlight_model_free(model);
    rimlight_options_free(options);

    /* What goes in: the first input, from a picture, in the way that was typed. */
    const RimlightDetails *details = NULL;
    const char *text = NULL;
    check(rimlight_session_input(session, 0, &details));
    check(rimlight_details_text(details, &text));
    printf("input   %s\n", text);
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value || argv[i] == labels) continue;
        *value = 0;
        check(rimlight_session_set_preprocessing(session, 0, argv[i], value + 1));
    }
    check(rimlight_session_set_picture_file(session, 0, picture));
    check(rimlight_session_run(session));

    /* What comes out, and what it ran on. */
    const RimlightDevice *device = NULL;
    const char *name = NULL;
    check(rimlight_session_output(session, 0, &details));
    check(rimlight_details_text(details, &text));
    check(rimlight_session_device(session, &device));
    check(rimlight_device_name(device, &name));
    printf("output  %s\ndevice  %s\n", text, name);
    const void *data = NULL;
    size_t bytes = 0;
    check(rimlight_session_output_data(session, 0, RIMLIGHT_ELEMENT_TYPE_F32, &data, &bytes));
    const float *scores = data;
    size_t classes = bytes / sizeof *scores;

    /* The largest, one after the other. */
    char *lines[LABELS], *memory = NULL;
    size_t known = labels ? read_labels(labels, lines, &memory) : 0;
    size_t shown[TOP];
    for (size_t rank = 0; rank < TOP && rank < classes; rank++) {
        size_t best = classes;
        for (size_t i = 0; i < classes; i++) {
            int taken = 0;
            for (size_t r = 0; r < rank; r++) taken |= shown[r] == i;
            if (!taken && (best == classes || scores[i] > scores[best])) best = i;
        }
        shown[rank] = best;
        printf("%8.4f  class %zu  %s\n", scores[best], best, best < known ? lines[best] : "");
    }
    free(memory);
    rimlight_session_free(session);
    return 0;
}
