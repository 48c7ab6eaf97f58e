//! Patches as plain loops, for as many as fit whole. There is no gradient.

pub(super) fn patchify(pixels: &[f32], shape: [usize; 4], patch: usize) -> Vec<f32> {
    let [count, channels, height, width] = shape;
    let mut rows = Vec::new();
    for image in 0..count {
        for top in (0..=height - patch).step_by(patch) {
            for left in (0..=width - patch).step_by(patch) {
                for channel in 0..channels {
                    for y in top..top + patch {
                        for x in left..left + patch {
                            let line = (image * channels + channel) * height + y;
                            rows.push(pixels[line * width + x]);
                        }
                    }
                }
            }
        }
    }
    rows
}
