// Selection of the persona and the voice before a call, from those that the server offers.

const LISTS = { persona: "personas", voice: "voices" };

/** Shows a list for each kind of setting that the server offers. */
export class Choices {
  #fieldset;

  constructor(fieldset) {
    this.#fieldset = fieldset;
  }

  /** Load the offered settings again: they may differ after a restart of the server. */
  async refresh() {
    const answer = await fetch("offers").catch(() => undefined);
    this.#show(answer?.ok ? await answer.json() : {});
  }

  /** The selected names; a setting left at its default is absent. */
  get chosen() {
    const selects = [...this.#fieldset.querySelectorAll("select")];
    return Object.fromEntries(selects.filter(({ value }) => value).map(({ name, value }) => [name, value]));
  }

  #show(offers) {
    for (const [name, list] of Object.entries(LISTS)) {
      const select = this.#fieldset.querySelector(`select[name=${name}]`);
      const names = offers[list] ?? [];
      select.replaceChildren(new Option("Default", ""), ...names.map((one) => new Option(one, one)));
      select.closest("label").hidden = names.length === 0;
    }
    this.#fieldset.hidden = Object.values(LISTS).every((list) => !offers[list]?.length);
  }
}
