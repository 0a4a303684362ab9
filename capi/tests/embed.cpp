// The library from C++17: handles that free themselves, errors that are thrown. embed MODEL BACKEND
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "rimlight.h"

namespace {

struct Free {
    void operator()(RimlightModel *model) const { rimlight_model_free(model); }
    void operator()(RimlightOptions *options) const { rimlight_options_free(options); }
    void operator()(RimlightSession *session) const { rimlight_session_free(session); }
};
template <typename T> using Handle = std::unique_ptr<T, Free>;

void check(RimlightStatus status) {
    if (status != RIMLIGHT_STATUS_OK) throw std::runtime_error(rimlight_error_text());
}

// What a function gives through its last parameter.
template <typename T, typename F, typename... Arguments> T made(F function, Arguments... arguments) {
    T value{};
    check(function(arguments..., &value));
    return value;
}

std::vector<float> zeros_through(RimlightSession *session) {
    const auto *input = made<const RimlightDetails *>(rimlight_session_input, session, 0);
    std::vector<float> pixels(made<std::size_t>(rimlight_details_bytes, input) / sizeof(float));
    check(rimlight_session_set_input(session, 0, RIMLIGHT_ELEMENT_TYPE_F32, pixels.data(), pixels.size() * sizeof(float)));
    check(rimlight_session_run(session));
    const auto *output = made<const RimlightDetails *>(rimlight_session_output, session, 0);
    std::vector<float> scores(made<std::size_t>(rimlight_details_bytes, output) / sizeof(float));
    check(rimlight_session_get_output(session, 0, RIMLIGHT_ELEMENT_TYPE_F32, scores.data(), scores.size() * sizeof(float)));
    return scores;
}

} // namespace

int main(int argc, char **argv) try {
    if (argc != 3) throw std::runtime_error("embed MODEL BACKEND");
    Handle<RimlightOptions> options(made<RimlightOptions *>(rimlight_options_new));
    check(rimlight_options_set_backend(options.get(), std::string(argv[2]) == "gpu" ? RIMLIGHT_BACKEND_GPU : RIMLIGHT_BACKEND_CPU));
    check(rimlight_options_set_dimension(options.get(), "N", 1));
    Handle<RimlightModel> model(made<RimlightModel *>(rimlight_model_open, argv[1]));
    // As nullptr is no pointer to a device for the template, it is named.
    const RimlightDevice *any = nullptr;
    Handle<RimlightSession> session(made<RimlightSession *>(rimlight_session_new, model.get(), any, options.get()));
    float sum = 0;
    for (float score : zeros_through(session.get())) sum += score;
    if (!(sum > 0.999F && sum < 1.001F)) throw std::runtime_error("probabilities do not add up to 1");
    try {
        made<RimlightModel *>(rimlight_model_open, "no such file");
        return 1;
    } catch (const std::runtime_error &error) {
        std::printf("as it should be: %s\n", error.what());
    }
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "embed: %s\n", error.what());
    return 1;
}
