/* Forgets to free a model, which the look for leaks must find: leak MODEL */
#include "rimlight.h"

int main(int argc, char **argv) {
    RimlightModel *model = NULL;
    if (argc != 2 || rimlight_model_open(argv[1], &model)) return 0;
    model = NULL;
    return 0;
}
