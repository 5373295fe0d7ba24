"""One step of Adam, the tenth."""


def step(w1, w2, m1, m2, v1, v2, g1, g2):
    answers = []
    for w, m, v, g in ((w1, m1, v1, g1), (w2, m2, v2, g2)):
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * g * g
        w = w - 0.01 * (m / (1 - 0.9**10)) / ((v / (1 - 0.99**10)).sqrt() + 1e-6)
        answers.append((w, m, v))
    return tuple(part for parts in zip(*answers) for part in parts)
