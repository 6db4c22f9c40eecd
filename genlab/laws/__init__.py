"""Laws that every model obeys, each for those that have what it speaks of: put to any config by ``genlab check``."""

from genlab.laws import bijections, likelihoods, samples, training
from genlab.laws.base import Law
from genlab.models.base import Bound, Decodes, Density, Samples

LAWS = (
    Law("gradients reach every parameter", (), training.gradients),
    Law("sample i depends on seed i alone", (Samples,), samples.seeds_alone),
    Law("samples lie in data space", (Samples,), samples.data_space),
    Law("saved and loaded, it samples the same", (Samples,), samples.saved),
    Law("codes have the size they should", (Decodes,), samples.codes),
    Law("log p depends on the example alone", (Density,), likelihoods.examples_alone),
    Law("the density integrates to one", (Density,), likelihoods.integral),
    Law("probabilities sum to one, bounds to less", (Density, Bound), likelihoods.enumeration),
    Law("more samples make a bound no looser", (Bound,), likelihoods.tighter),
    Law("bijections invert", (Density, Bound), bijections.inverse),
    Law("log-determinants are those of autograd", (Density, Bound), bijections.jacobian),
    Law("no conditional sees what comes later", (Density,), likelihoods.causality),
    Law("no density beats the entropy", (Density,), likelihoods.entropy),
)
