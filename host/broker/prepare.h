#pragma once
#include "host/launch/image.h"
namespace teacup::host {
s64 serve_prepare(const Image& image, const u64 (&args)[6]);
}
